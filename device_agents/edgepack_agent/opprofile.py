"""Time per operation, from LiteRT's own profiler through the C interface of its library.

Python's bindings leave the profiler out. Looked at in ai-edge-litert 2.3.0: its events have the
layout of `_Event`. A library in which this is otherwise ends this worker, which measures nothing
else, or fails the checks below.
"""

import ctypes
import functools
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes import capi
from edgepack_agent.runtimes.base import Config, Tensor

SECONDS = 1.0
RUNS = (5, 200)  # at least, at most
WARM_UP, ALONE_S = 3, 0.2  # inferences that do not count, and seconds without the profiler
MAX_OPS = 20000
TOLD = 0.9  # of an inference without the profiler, at least

# Of tflite::Profiler::EventType: an operation of the interpreter, and two ways of a delegate
# to tell of one inside its partition.
_INTERPRETER, _INSIDE = 2, (4, 8)
_ref = ctypes.byref


class _Event(ctypes.Structure):
    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_int64 * 6),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


def _failed(what: str) -> AgentError:
    return AgentError("EP502", "no profile of operations: %s" % what, "Profile with LiteRT 2.3.")


class _Model(capi.Model):
    """A compiled model with its profiler."""

    def __init__(self, path: str, config: Config) -> None:
        super().__init__(capi.Library(), path, config, profiled=True)
        self.profiler = self.library.make("CompiledModelGetProfiler", self.handle)

    def runner(self, values: Dict[int, np.ndarray]) -> Callable[[], None]:
        """One inference on these inputs, by tensor index."""
        inputs = self.buffers("Input")
        for index, buffer in zip(self.inputs, inputs):
            if index in values:
                self.fill(buffer, values[index])
        arguments = self.arguments(inputs, self.buffers("Output"))
        return functools.partial(self.call, "RunCompiledModel", *arguments)

    def events(self) -> List[Tuple[str, int, int, int]]:
        """(tag, type, index, microseconds) of every operation of the last profile."""
        number = ctypes.c_int()
        self.call("GetNumProfilerEvents", self.profiler, _ref(number))
        if not 0 <= number.value <= MAX_OPS:
            raise _failed("%d events of one inference" % number.value)
        found = (_Event * max(1, number.value))()
        self.call("GetProfilerEvents", self.profiler, number, found)
        return [
            (each.tag.decode("utf-8", "replace"), each.type, each.index, each.elapsed_us)
            for each in found[: number.value]
            if each.type == _INTERPRETER or each.type in _INSIDE
        ]


def profile(
    path: str,
    config: Config,
    tensors: Sequence[Tensor],
    values: Sequence[np.ndarray],
    rounded: bool = False,
) -> Dict[str, Any]:
    """The `ops` event's fields: each operation's time, in the order they ran.

    Times are nanoseconds, means over the inferences of usual length. The profiler counts whole
    microseconds, of which a median, or a mean without the extremes, loses the small operations; a
    mean over all inferences believes every preemption. Of a delegate's operations they are rounded
    down: AgentError EP502 where that loses more than a tenth of an inference, unless `rounded`.
    """
    try:
        return _profile(_Model(path, config), dict(zip((t.slot for t in tensors), values)), rounded)
    except RuntimeError as error:
        raise _failed(str(error)) from None


def _profile(model: _Model, values: Dict[int, np.ndarray], rounded: bool) -> Dict[str, Any]:
    run = model.runner(values)
    alone_ns = _alone_ns(run)
    runs: List[List[Tuple[str, int, int, int]]] = []
    walls: List[int] = []
    began = time.monotonic()
    while len(runs) < RUNS[0] or (len(runs) < RUNS[1] and time.monotonic() - began < SECONDS):
        model.call("ResetProfiler", model.profiler)
        model.call("StartProfiler", model.profiler)
        start = time.perf_counter_ns()
        run()
        walls.append(time.perf_counter_ns() - start)
        model.call("StopProfiler", model.profiler)
        runs.append(model.events())
    usual = _usual(walls)
    ops = _over_runs(runs, usual)
    told_ns = sum(each["ns"] for each in ops)
    if told_ns > 1.2 * max(walls):
        raise _failed("operations that took longer than their inferences")
    if told_ns < TOLD * alone_ns and not rounded:
        raise _failed("it tells of %.1f us of %.1f" % (told_ns / 1e3, alone_ns / 1e3))
    total_ns = sum(walls[at] for at in usual) // len(usual)
    return {"runs": len(runs), "total_ns": total_ns, "estimated": False, "ops": ops}


def _alone_ns(run: Callable[[], None]) -> int:
    """The median inference without the profiler, which takes microseconds an operation."""
    walls: List[int] = []
    began = time.monotonic()
    while len(walls) < 2 * WARM_UP or (len(walls) < RUNS[1] and time.monotonic() - began < ALONE_S):
        start = time.perf_counter_ns()
        run()
        walls.append(time.perf_counter_ns() - start)
    counted = sorted(walls[WARM_UP:])
    return counted[len(counted) // 2]


def _usual(walls: Sequence[int]) -> List[int]:
    """Which inferences are the middle half by their length."""
    cut = len(walls) // 4
    return sorted(range(len(walls)), key=walls.__getitem__)[cut : len(walls) - cut]


def _over_runs(
    runs: List[List[Tuple[str, int, int, int]]], usual: List[int]
) -> List[Dict[str, Any]]:
    """Operation by operation over the runs, which must all be alike; times of the usual ones."""
    ops, partition, inside = [], -1, False
    for column in zip(*runs):
        tag, kind, index, _ = column[0]
        if any(each[:3] != (tag, kind, index) for each in column):
            raise _failed("inferences ran different operations")
        if kind in _INSIDE and not inside:
            partition += 1
        inside = kind in _INSIDE
        ops.append(
            {
                "name": tag[len("Delegate/") :] if tag.startswith("Delegate/") else tag,
                "index": index,
                "partition": partition if inside else None,
                "ns": 1000 * sum(column[at][3] for at in usual) // len(usual),
            }
        )
    if not ops or len({len(each) for each in runs}) > 1:
        raise _failed("the profiler told of no operation, or of different ones")
    return ops
