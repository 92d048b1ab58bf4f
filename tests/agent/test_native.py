"""LiteRT's C interface, with inferences that a loop in C times, through the real agent."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from edgepack_agent import runtimes, timing
from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes import capi, native
from edgepack_agent.runtimes.base import Config

from .host import DATA, Event, Host, make_job, npz
from .test_measuring import decoded

Job = Callable[..., tuple[Event, dict[str, bytes]]]

CLASSIFIER = {"m": (DATA / "classifier_float.tflite").read_bytes()}
WIDE = {"m": (DATA / "convolution_wide.tflite").read_bytes()}
TWO_INPUTS = {"m": (DATA / "two_inputs.tflite").read_bytes()}
FIXED = {"m": (DATA / "fixed_batch.tflite").read_bytes()}


@pytest.fixture(autouse=True)
def compiler(require: Callable[[object, str], None]) -> None:
    require(any(map(shutil.which, native.COMPILERS)), "a C compiler is not installed")


def test_what_the_compiled_interface_computes_comes_with_samples(tmp_path: Path, job: Job) -> None:
    outputs: dict[str, list[np.ndarray]] = {}
    for api in ("compiled", "c"):
        with Host(tmp_path / api / "home") as host:
            host.serve(*job(api=api))
            for name, result in host.results().items():
                assert (result["status"], result["error"]) == ("ok", None)
                assert result["runtime"]["api"] == api
                assert result["quality"]["value"] == 1.0, name
                assert result["accelerator"]["ops_total"] == 7
                assert 100 < median(host.latencies(name)) < 5e6
            outputs[api] = [decoded(event) for event in host.all("outputs")]
    assert len(outputs["c"]) == 2
    for one, other in zip(*outputs.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_left_of_the_compiling(host: Host, home: Path) -> None:
    host.serve(*make_job(CLASSIFIER, api="c"))
    assert host.results()["m"]["status"] == "ok"
    left = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert left == {"blobs", "lease", "lock"}


def test_two_inputs_go_where_they_belong(host: Host) -> None:
    tokens = np.arange(20).reshape(4, 5) % 16
    score = 3 * tokens.mean(axis=1, keepdims=True)
    data = npz(x_tokens=tokens, x_weights=np.ones((4, 2), np.float32), y=score)
    host.serve(*make_job(TWO_INPUTS, data, task="regression", samples=4, api="c"))
    assert host.results()["m"]["quality"]["value"] == pytest.approx(0, abs=1e-4)


def test_xnnpack_can_be_switched_off(host: Host, job: Job) -> None:
    host.serve(*job(api="c", xnnpack=False))
    for name, result in host.results().items():
        assert result["quality"]["value"] == 1.0, name
        assert result["accelerator"]["ops_delegated"] == 0
        assert "FULLY_CONNECTED" in result["accelerator"]["ops_left"]


def test_two_threads_are_used(host: Host) -> None:
    host.serve(*make_job(WIDE, api="c", threads=2))
    result = host.results()["m"]
    assert (result["status"], result["threads"]) == ("ok", 2)
    assert result["cpu"]["helpers_share"] > 0.1
    assert result["accelerator"]["ops_delegated"] == result["accelerator"]["ops_total"]


def test_throughput_has_the_bringing_in_of_samples(host: Host) -> None:
    host.serve(*make_job(CLASSIFIER, api="c", mode="offline"))
    result = host.results()["m"]
    assert (result["status"], result["mode"]) == ("ok", "offline")
    assert len(host.latencies("m")) > 100


def test_a_batch_is_one_inference(host: Host) -> None:
    host.serve(*make_job(TWO_INPUTS, api="c", batch=3))
    assert (host.results()["m"]["status"], host.results()["m"]["batch"]) == ("ok", 3)


@pytest.mark.parametrize(
    ("api", "model", "reason"),
    [
        ("c", CLASSIFIER, "an output keeps the shape [1, 4]"),
        ("compiled", CLASSIFIER, "an output keeps the shape [1, 4]"),
        ("c", FIXED, "status"),
    ],
)
def test_a_model_that_cannot_be_batched_is_unsupported(
    host: Host, api: str, model: dict[str, bytes], reason: str
) -> None:
    """LiteRT itself overruns the outputs of CLASSIFIER, whose size it only learns as it runs."""
    host.serve(*make_job(model, api=api, batch=16))
    result = host.results()["m"]
    assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
    assert "cannot run in batches" in result["error"]["what"]
    assert reason in result["error"]["what"]


def test_operations_are_profiled_as_ever(host: Host) -> None:
    host.serve(*make_job(CLASSIFIER, api="c", profile_ops=True))
    (event,) = host.all("ops")
    assert not event["estimated"] and len(event["ops"]) > 3
    assert "ops-rounded" in host.results()["m"]["flags"], "microseconds of a model of two"


@pytest.mark.parametrize("accelerator", ["gpu", "npu", "delegate:/x.so"])
def test_another_accelerator_is_no_cpu_run(host: Host, accelerator: str) -> None:
    host.serve(*make_job(CLASSIFIER, api="c", accelerator=accelerator))
    result = host.results()["m"]
    assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
    assert f"'{accelerator}' is not available with this interface" in result["error"]["what"]
    assert not host.all("samples")


def only(compiler: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave in the PATH nothing but this shell script, called cc."""
    folder.mkdir()
    if compiler is not None:
        (folder / "cc").write_text(f"#!/bin/sh\n{compiler}\n")
        (folder / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_a_compiler_it_is_unusable_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(None, tmp_path / "bin", monkeypatch)
    with Host(tmp_path / "home") as host:
        host.serve(*make_job(CLASSIFIER, api="c"))
    (error,) = host.all("error")
    assert error["code"] == "EP405"
    assert "no C compiler (cc, gcc or clang) is installed" in error["what"]
    assert not host.all("samples")


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (
            "echo 'In file included' >&2; echo 'x.c:1: fatal error: no stdio.h' >&2; exit 1",
            "no stdio",
        ),
        ("exit 1", "the compiler says nothing"),
        ('while [ "$1" != -o ]; do shift; done; echo text >"$2"', "loop-"),
        ("exit 0", "cannot open shared object file"),
    ],
)
def test_a_loop_that_cannot_be_made_fails_the_variant_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, said: str
) -> None:
    only(compiler, tmp_path / "bin", monkeypatch)
    with Host(tmp_path / "home") as host:
        host.serve(*make_job(CLASSIFIER, api="c"))
        error = host.results()["m"]["error"]
    assert error["code"] == "EP405" and said in error["what"]
    assert "noexec" in error["hint"]
    assert not list((tmp_path / "home" / "agent").iterdir())
    assert not host.all("samples")


def test_a_library_that_lacks_a_function_is_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_NEWEST", ("ComputeEverything",))
    found = runtimes.candidate("ai-edge-litert", "c")
    assert "no LiteRtComputeEverything" in (found["unusable"] or "")


def test_a_function_that_is_missed_when_it_is_called_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = opened("classifier_float")
    monkeypatch.setattr(made._library, "_library", ctypes.CDLL("libm.so.6"))
    with pytest.raises(AgentError, match="no LiteRtGet"):
        made.fix_shapes({tensor.name: (1, 4, 4, 1) for tensor in made.inputs})


def opened(name: str, xnnpack: bool = True) -> Any:
    made = runtimes.create("ai-edge-litert", "c")
    made.interpreter_class()
    made.open(os.fspath(DATA / f"{name}.tflite"), Config(1, "cpu", xnnpack, {}))
    return made


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EDGEPACK_AGENT_HOME", str(tmp_path))
    made = opened("classifier_float")
    made.fix_shapes({tensor.name: (1, 4, 4, 1) for tensor in made.inputs})
    return made


@pytest.mark.parametrize("xnnpack", [True, False])
def test_litert_itself_says_what_xnnpack_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xnnpack: bool
) -> None:
    monkeypatch.setenv("EDGEPACK_AGENT_HOME", str(tmp_path))
    assert opened("convolution_wide", xnnpack)._model.fully_accelerated() == xnnpack


def test_every_inference_has_its_own_sample(runtime: Any) -> None:
    rng = np.random.default_rng(0)
    samples = [[rng.random((1, 4, 4, 1), np.float32)] for _ in range(5)]
    seen = []
    for sample in samples:
        runtime.set_inputs(sample)
        runtime.invoke()
        seen.append(runtime.read_outputs()[0])
    assert len({value.tobytes() for value in seen}) == 5
    for n in range(1, 6):
        assert len(runtime.run_block(samples[:n], False)) == n
        np.testing.assert_array_equal(runtime.read_outputs()[0], seen[n - 1])


def test_the_loop_is_what_times(runtime: Any) -> None:
    """Its clock costs no call from Python, and its samples are below those taken from Python."""
    python = timing.timer_cost_ns(runtimes.create("ai-edge-litert", "compiled"))
    assert 0 < timing.timer_cost_ns(runtime) < 0.8 * python
    feed = timing.Feed(lambda _: [np.zeros((1, 4, 4, 1), np.float32)], [0])
    in_c = min(median(timing.run(runtime, feed, 500)) for _ in range(9))
    runtime.run_block = None
    in_python = min(median(timing.run(runtime, feed, 500)) for _ in range(9))
    assert 0 < in_c < in_python - 500, "half a microsecond of Python is the least"


def test_whole_is_from_the_copying_of_one_sample_to_that_of_the_next(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copying that takes 2 ms is in the one and not in the other."""
    slow = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(slowly := Slowly(runtime))
    known = runtime._library.function
    monkeypatch.setattr(
        runtime._library,
        "function",
        lambda name: slow if name == "UnlockTensorBuffer" else known(name),
    )
    samples = [[np.zeros((1, 4, 4, 1), np.float32)]] * 9
    assert median(runtime.run_block(samples, False)) < 1e6
    assert median(runtime.run_block(samples, True)) > 2e6
    assert slowly.calls == 18


class Slowly:
    """Unlocks a buffer after 2 ms."""

    def __init__(self, runtime: Any) -> None:
        self.unlock, self.calls = runtime._library.function("UnlockTensorBuffer"), 0

    def __call__(self, buffer: int) -> int:
        self.calls += 1
        time.sleep(0.002)
        return int(self.unlock(ctypes.c_void_p(buffer)))


def test_an_inference_that_fails_ends_the_loop(runtime: Any) -> None:
    runtime._arguments = (runtime._arguments[0], capi._size(7), *runtime._arguments[2:])
    for run in (runtime.invoke, lambda: runtime.run_block([[np.zeros((1, 4, 4, 1), "f4")]], False)):
        with pytest.raises(AgentError, match=r"cannot run the model: .* status") as caught:
            run()
        assert caught.value.code == "EP502"
