"""The profile of operations: from LiteRT's own profiler, or estimated from the graph cut off."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from edgepack_agent import flatcut, prefixes
from edgepack_agent.errors import AgentError

from .host import DATA, Host, make_job

WIDE = {"m": (DATA / "convolution_wide.tflite").read_bytes()}
FIXED = {"m": (DATA / "fixed_batch.tflite").read_bytes()}
MIXED = {"m": (DATA / "classifier_int8.tflite").read_bytes()}


def test_the_convolutions_take_the_time(host: Host) -> None:
    host.serve(*make_job(WIDE, profile_ops=True))
    (event,) = host.all("ops")
    ops = event["ops"]
    assert [op["partition"] for op in ops] == [0] * len(ops), "XNNPACK takes the whole model"
    assert [op["index"] for op in ops] == list(range(len(ops)))
    slowest = sorted(ops, key=lambda op: op["ns"])[-2:]
    assert all("Convolution" in op["name"] for op in slowest)
    total = sum(op["ns"] for op in ops)
    assert sum(op["ns"] for op in slowest) > 0.8 * total
    assert total < 1.5 * event["total_ns"]
    assert not event["estimated"] and host.results()["m"]["flags"].count("ops-estimated") == 0
    assert host.results()["m"]["status"] == "ok"


@pytest.mark.parametrize("xnnpack", [True, False])
def test_plain_kernels_are_told_from_those_of_the_delegate(host: Host, xnnpack: bool) -> None:
    host.serve(*make_job(MIXED, profile_ops=True, xnnpack=xnnpack))
    (event,) = host.all("ops")
    partition = {op["name"]: op["partition"] for op in event["ops"]}
    assert partition["AVERAGE_POOL_2D"] is partition["SOFTMAX"] is None
    assert partition["FULLY_CONNECTED"] == (0 if xnnpack else None)


def test_what_takes_less_than_the_profiler_counts_is_estimated(host: Host) -> None:
    """All of MIXED is two microseconds, and each of the delegate's operations rounded down."""
    host.serve(*make_job(MIXED, profile_ops=True))
    (event,) = host.all("ops")
    assert event["estimated"] and "ops-estimated" in host.results()["m"]["flags"]
    assert any("it tells of" in each["message"] for each in host.all("log"))
    assert sum(op["ns"] for op in event["ops"]) > 0.5 * event["total_ns"] > 0
    assert {op["type"] for op in event["ops"]} == {"int8", "int32"}


def test_what_an_inference_costs_that_does_nothing_is_no_operations(host: Host) -> None:
    """FIXED begins with a RESHAPE of a few bytes, a tenth of a microsecond."""
    host.serve(*make_job(FIXED, profile_ops=True))
    (event,) = host.all("ops")
    assert event["estimated"] and event["ops"][0]["name"] == "RESHAPE"
    assert event["ops"][0]["ns"] < event["total_ns"] / 2


def test_without_an_estimate_the_rounded_times_are_told_as_such(host: Host) -> None:
    host.serve(*make_job(MIXED, profile_ops=True, api="compiled"))
    (event,) = host.all("ops")
    assert not event["estimated"] and "ops-rounded" in host.results()["m"]["flags"]
    assert sum(op["ns"] for op in event["ops"]) < 0.75 * event["total_ns"]
    assert any("Fully Connected" in op["name"] for op in event["ops"])


@pytest.fixture
def old_runtime(tmp_path: Path) -> str:
    """A folder with a `tflite-runtime`, which has no profiler."""
    package = tmp_path / "old" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("from ai_edge_litert.interpreter import *\n")
    return str(package.parent)


@pytest.mark.parametrize(("model", "xnnpack"), [(WIDE, True), (MIXED, False)])
def test_without_a_profiler_the_cut_graph_is_timed(
    host: Host, old_runtime: str, model: dict[str, bytes], xnnpack: bool
) -> None:
    job = make_job(
        model,
        profile_ops=True,
        runtimes=("tflite-runtime",),
        sys_path=[old_runtime],
        xnnpack=xnnpack,
    )
    host.serve(*job)
    (event,) = host.all("ops")
    ops, result = event["ops"], host.results()["m"]
    assert event["estimated"] and "ops-estimated" in result["flags"]
    assert len(ops) == result["accelerator"]["ops_total"]
    assert {op["partition"] for op in ops} == ({0} if xnnpack else {None})
    if model is WIDE:
        assert "CONV" in max(ops, key=lambda op: op["ns"])["name"]
    assert any("has a profiler" in each["message"] for each in host.all("log"))


def test_where_neither_can_be_had_it_is_said(host: Host, old_runtime: str) -> None:
    """A runtime that does not list its operations either."""
    file = Path(old_runtime) / "tflite_runtime" / "interpreter.py"
    file.write_text(
        "import ai_edge_litert.interpreter as real\n"
        "class Interpreter(real.Interpreter):\n"
        "    _get_ops_details = None\n"
    )
    runtime = {"runtimes": ("tflite-runtime",), "sys_path": [old_runtime]}
    host.serve(*make_job(MIXED, profile_ops=True, **runtime))
    result = host.results()["m"]
    assert result["status"] == "ok" and "ops-unprofiled" in result["flags"]
    assert not host.all("ops")
    assert any("one by one" in event["message"] for event in host.all("log"))


@pytest.mark.parametrize("name", ["two_inputs", "classifier_int8", "convolution_wide"])
def test_every_cut_of_a_graph_computes_what_the_whole_graph_computes(name: str) -> None:
    content = (DATA / f"{name}.tflite").read_bytes()
    graph = flatcut.Graph(content)
    whole = values(content, keep=True)
    for count in range(1, len(graph.ops) + 1):
        cut = values(graph.cut(count))
        ends = graph.ends(count)
        assert sorted(cut) == sorted(ends)
        for tensor in ends:
            np.testing.assert_array_equal(cut[tensor], whole[tensor])
    assert set(graph.outputs) <= set(ends)


def values(content: bytes, keep: bool = False) -> dict[int, np.ndarray]:
    """The outputs (or all tensors) of one inference without XNNPACK, by tensor."""
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=keep,
    )
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        drawn = rng.integers(0, 8, detail["shape"]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], drawn)
    interpreter.invoke()
    details = interpreter.get_tensor_details() if keep else interpreter.get_output_details()
    found = {}
    for detail in details:
        with contextlib.suppress(ValueError):  # a tensor that is never filled
            found[detail["index"]] = interpreter.get_tensor(detail["index"])
    return found


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(b"\x08\0\0\0TFL3" + bytes(16))
    with pytest.raises(AgentError, match="no profile of operations"):
        prefixes.profile(str(file), lambda content: lambda: None, [("ADD", "float32")], {})
