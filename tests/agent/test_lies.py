"""Boards that do not do what they say: each lie must be told to whoever reads the numbers.

A delegate that is missing or takes nothing is in test_accelerators.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from edgepack_agent import results
from edgepack_agent.subject import Subject, Visit

from edgepack.compress.recipes import parse
from edgepack.measuring import precision_flags
from edgepack.model import Accelerator
from tests import builders

from .host import DATA, Event, Host, make_job, sha256

Job = Callable[..., tuple[Event, dict[str, bytes]]]

WIDE = {"m": (DATA / "convolution_wide.tflite").read_bytes()}  # milliseconds an inference

ONE_THREAD = """
import ai_edge_litert.interpreter as real
OpResolverType = real.OpResolverType
class Interpreter(real.Interpreter):
    def __init__(self, num_threads=None, **options):
        super().__init__(num_threads=1, **options)
"""


@pytest.fixture
def lazy_runtime(tmp_path: Path) -> str:
    """A folder with a `tflite-runtime` that takes a number of threads and uses one."""
    package = tmp_path / "lazy" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(ONE_THREAD)
    return str(package.parent)


def test_ignored_threads(tmp_path: Path, lazy_runtime: str) -> None:
    lying = {"runtimes": ("tflite-runtime",), "sys_path": [lazy_runtime]}
    for name, threads, runtime in (("lie", 2, lying), ("one", 1, lying), ("true", 2, {})):
        with Host(tmp_path / name / "home") as host:
            host.serve(*make_job(WIDE, threads=threads, **runtime))
            result = host.results()["m"]
        assert result["status"] == "ok"
        assert ("threads-ignored" in result["flags"]) == (name == "lie"), name
        assert result["cpu"]["cores_used"] > 0


def test_ignored_threads_of_a_sweep(host: Host, lazy_runtime: str) -> None:
    lying = {"runtimes": ("tflite-runtime",), "sys_path": [lazy_runtime]}
    changed, blobs = make_job(WIDE, threads=1, **lying)
    changed["settings"]["sweep_threads"] = [2]
    host.serve(changed, blobs)
    result = host.results()["m"]
    assert [point["threads"] for point in result["sweep"]] == [2]
    assert "threads-ignored" in result["flags"]


def test_a_small_model_may_well_use_one_thread(host: Host, job: Job) -> None:
    host.serve(*job(threads=2))
    assert not any("threads-ignored" in r["flags"] for r in host.results().values())


def test_a_clock_that_costs_as_much_as_the_model_is_said(host: Host) -> None:
    host.serve(*make_job(WIDE))
    result = host.results()["m"]
    assert result["timer_ns"] > 0
    assert "clock-cost" not in result["flags"]


@pytest.mark.parametrize(("timer_ns", "said"), [(60, False), (61, True)])
def test_more_than_a_fiftieth_of_p50_is_much(timer_ns: int, said: bool) -> None:
    job: Any = SimpleNamespace(accelerator="cpu", threads=1)
    ref: Any = SimpleNamespace(name="m")
    subject = Subject(ref, budget_s=1.0, threads=1)
    subject.loaded = {"timer_ns": timer_ns}
    subject.visits = [Visit(0, 0, 3000, 1, 3000, 3000.0)]
    flags = results._subject_flags(job, subject, {"actual": "cpu", "adapter": None})
    assert ("clock-cost" in flags) == said


def test_a_swapped_model_file_is_never_measured(
    tmp_path: Path, job: Job, classifiers: dict[str, bytes]
) -> None:
    home, wanted = tmp_path / "home", sha256(classifiers["float"])
    for swapped in (False, True):
        if swapped:
            (home / "blobs" / wanted).write_bytes(classifiers["int8"])
        with Host(home) as host:
            host.serve(*job())
        (need,) = host.all("need")
        assert wanted in [blob["sha256"] for blob in need["blobs"]]
        assert "int8" not in host.results()["float"]["accelerator"]["types"]
    assert [blob["sha256"] for blob in need["blobs"]] == [wanted], "only what was swapped"


def test_a_float_file_with_int8_inside(host: Host, classifiers: dict[str, bytes]) -> None:
    """The device counts the formats of what it ran; the host holds them against the recipe."""
    host.serve(*make_job({"float": classifiers["int8"], "true": classifiers["float"]}))
    for name, flags in (("float", ("not-float",)), ("true", ())):
        types = host.results()[name]["accelerator"]["types"]
        told = builders.measurement(name, accelerator=Accelerator(types=types))
        assert precision_flags(told, parse("float")) == flags


def test_a_clock_that_steps(
    tmp_path: Path,
    job: Job,
    require: Callable[[object, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require(shutil.which("cc"), "no C compiler")
    library, step = tmp_path / "stepped_clock.so", tmp_path / "step"
    source = DATA / "stepped_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("STEPPED_CLOCK", str(step))
    with Host(tmp_path / "home") as host:
        asked, blobs = job()
        host.send(asked)
        host.push(blobs)
        host.until("samples")
        step.touch()
        host.rest()
    for name, result in host.results().items():
        assert result["status"] == "ok"
        assert "clock-stepped" in result["flags"]
        assert max(host.latencies(name)) < 60e9, "the hour is in no latency"
