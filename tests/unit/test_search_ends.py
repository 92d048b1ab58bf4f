"""How a search ends where something goes wrong: its output, Ctrl-C, a busy device."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from edgepack_agent import runtimes

from edgepack import package as packages
from edgepack import pipeline, resources
from edgepack.cli.main import cli
from edgepack.compress import batches, loading
from edgepack.errors import EdgepackError
from edgepack.fleet import engine as engines
from edgepack.model import Failure, Measurement, Status, TensorSpec
from edgepack.model.hardware import RUNTIMES
from edgepack.plan import Plan
from edgepack.searching import asking, conclusion, history, loop
from edgepack.searching.study import Study
from edgepack.searching.values import Judge
from tests import builders_search

MET = {"quality_drop": 0.02, "latency_p50_ms": 2.0}
CONCLUDE = conclusion.conclude
MODEL = resources.demo_dir() / "fashion_mnist_resnet.keras"


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The command line on searches that are over at once, and what they come to."""
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    came = SimpleNamespace(to=builders_search.conclusion(MET, {}), begun=0)

    def begin(study: Study, *_: object) -> SimpleNamespace:
        came.begun += 1
        shop = SimpleNamespace(source=SimpleNamespace(path=MODEL, sha256=""), given=None)
        builder = SimpleNamespace(obtain=None, workshop=shop)
        found = builders_search.trials(MET)[:1]
        study.judged_by(Judge(metric="accuracy", source=0.9, samples=100))
        return SimpleNamespace(study=study, builder=builder, lost={}, space=None, run=lambda: found)

    def call(*words: object) -> SimpleNamespace:
        done = CliRunner().invoke(cli, ["search", "-q", *map(str, words)], standalone_mode=False)
        return SimpleNamespace(code=getattr(done.exception, "code", None), done=done)

    monkeypatch.setattr(loop, "Searching", begin)
    monkeypatch.setattr(conclusion, "conclude", lambda *_, **__: came.to)
    came.call = call
    return came


@pytest.mark.parametrize(
    ("output", "code"),
    [("file", "EP105"), ("file/in", "EP105"), ("taken", "EP105"), ("foreign", "EP105")],
)
def test_an_output_that_cannot_be_written_is_told_before_searching(
    searched: SimpleNamespace, tmp_path: Path, output: str, code: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "local").write_text("")
    (tmp_path / "foreign" / "local").mkdir(parents=True)
    (tmp_path / "foreign" / "local" / "thesis.txt").write_text("years of work")
    assert searched.call(MODEL, "-o", tmp_path / output).code == code
    with pytest.raises(EdgepackError) as caught:
        Study.open("latest")
    assert caught.value.code == "EP601", "and there is no search of it"
    searched.call(MODEL)
    assert searched.call("--resume", "latest", "-o", tmp_path / output).code == code
    with pytest.raises(EdgepackError) as caught:
        asking.perform(Study.open("latest"), tmp_path / output, emit=print)
    assert (caught.value.code, searched.begun) == (code, 1)


def test_a_package_that_cannot_be_written_loses_no_answer(
    searched: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object):
        yield "pi4", tmp_path / "pi4"
        raise EdgepackError("EP603", "No space left on device", hint="Make room.")

    monkeypatch.setattr(conclusion, "write", write)
    ended = searched.call(MODEL, "-o", tmp_path, "--json", "--report", tmp_path / "s.json")
    name = Study.open("latest").name
    assert ended.code == "EP603" and f"--resume {name} -o" in ended.done.exception.hint
    shown = json.loads(ended.done.stdout)
    stored = json.loads((tmp_path / "s.json").read_text())
    for document in (shown, stored):
        assert document["status"] == "found"
        packages = {device: one["package"] for device, one in document["devices"].items()}
        assert packages == {"pi4": str(tmp_path / "pi4"), "local": None}


@pytest.fixture
def measured(searched: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The finalists' run, as `measured.outcome` says; `measured.plans`: what was asked for."""
    asked = SimpleNamespace(outcome=None, plans=[], call=searched.call)

    def bench(package: object, folder: object, wanted: Plan, **_: object) -> SimpleNamespace:
        asked.plans.append(wanted)
        return asked.outcome

    signature = SimpleNamespace(signature=None)
    monkeypatch.setattr(conclusion, "conclude", CONCLUDE)
    monkeypatch.setattr(conclusion, "built", lambda *_: ([signature], {}))
    monkeypatch.setattr(conclusion, "fitted", lambda *_: None)
    unlabelled = SimpleNamespace(data=None)
    monkeypatch.setattr(packages, "write", lambda *_, **__: unlabelled)
    monkeypatch.setattr(pipeline, "bench", bench)
    return asked


def test_ctrl_c_while_the_finalists_are_measured_concludes_nothing(
    measured: SimpleNamespace, tmp_path: Path
) -> None:
    measured.outcome = SimpleNamespace(interrupted=True)
    ended = measured.call(MODEL, "--json", "--threads", "1", "--threads", "2")
    study = Study.open("latest")
    assert isinstance(ended.done.exception, click.Abort | KeyboardInterrupt)
    assert f"edgepack search --resume {study.name}" in ended.done.stderr
    assert ended.done.stdout == ""
    assert study.concluded is None
    assert history.of(study).status == "unfinished"


def test_ctrl_c_before_there_is_a_search_names_none_to_go_on_with(
    searched: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "Searching", begin)
    ended = searched.call(MODEL)
    assert isinstance(ended.done.exception, click.Abort | KeyboardInterrupt)
    assert "--resume" not in ended.done.stderr


def test_a_device_that_stays_busy_to_the_end_is_told_with_the_way_on(
    measured: SimpleNamespace, tmp_path: Path
) -> None:
    busy = Failure(code="EP410", what="the device is measured by x, free in 9 s.", hint="Wait.")
    failed = [
        Measurement(
            variant=name, device="local", profile="desktop", status=Status.FAILED, failure=failure
        )
        for name, failure in (("t000", Failure(code="EP412", what="", hint="")), ("float", busy))
    ]
    run = SimpleNamespace(run_id="r", measurements=failed, package=None)
    comparison = SimpleNamespace(rows=())
    measured.outcome = SimpleNamespace(interrupted=False, run=run, comparison=comparison)
    ended = measured.call(MODEL, "--json")
    assert ended.done.return_value == 4
    [plan] = measured.plans
    assert plan.settings.wait_s == 600.0
    study = Study.open("latest")
    for document in (json.loads(ended.done.stdout), history.document(study)):
        assert document["status"] == "unmeasured"
        why = document["lost"]["local"]
        assert why.startswith("the device is measured by x, free in 9 s; ")
        assert why.endswith(f"edgepack search --resume {study.name}")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--runtime", "nonsense"], "EP105"),
        (["--runtime", "ai-edge-litert/c"], "EP105"),
        (["--engine", "spark://127.0.0.1:9"], "EP105"),
        (["--engine", "dask://127.0.0.1:9"], ("EP401", "EP105")),  # EP105: dask is not installed
        (["--data", "nope.npz"], "EP301"),
        (["--data", "odd.npz"], "EP303"),
        (["--data", "damaged.npz"], "EP302"),
    ],
)
def test_what_is_wrong_from_the_start_leaves_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: str | tuple[str, ...]
) -> None:
    def load(*_: object) -> SimpleNamespace:
        """The model: one image of 28 by 28 in, ten classes out. No TensorFlow for that."""
        x = TensorSpec(name="x", shape=(-1, 28, 28, 1), dtype="float32")
        y = TensorSpec(name="y", shape=(-1, 10), dtype="float32")
        return SimpleNamespace(inputs=(x,), outputs=(y,))

    monkeypatch.setattr(engines, "_CONNECT_S", 0.5)
    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loading, "allowed", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(batches, "freed", lambda network, _: network)
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    np.savez("odd.npz", x_test=np.zeros((9, 3, 3, 1), "float32"), y_test=np.arange(9))
    Path("damaged.npz").write_bytes(b"PK and nothing else")
    done = CliRunner().invoke(cli, ["search", str(MODEL), *words], standalone_mode=False)
    assert isinstance(done.exception, EdgepackError), done.output
    assert done.exception.code in code
    begun = words[-1] in ("odd.npz", "damaged.npz")  # only reading them tells
    assert ("search s" in done.output) == begun
    assert not list(tmp_path.rglob("searches.db"))


def test_the_runtimes_that_may_be_named_are_those_of_the_agent() -> None:
    known = {
        f"{name}/{api}".removesuffix("/interpreter") for name in RUNTIMES for api in RUNTIMES[name]
    }
    assert known == set(runtimes.names())
