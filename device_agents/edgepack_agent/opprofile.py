"""Time per operation, from LiteRT's own profiler through the C interface of its library.

Python's bindings leave the profiler out. Looked at in ai-edge-litert 2.3.0: option payloads are
TOML texts, and the profiler's events have the layout of `_Event`. A library in which this is
otherwise ends this worker, which measures nothing else, or fails the checks below.
"""

import ctypes
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Config, Tensor

SECONDS = 1.0
RUNS = (5, 200)  # at least, at most
WARM_UP = 3
MAX_OPS = 20000

_CPU = 1  # kLiteRtHwAcceleratorCpu
_WRITE = 1  # kLiteRtTensorBufferLockModeWrite
# Of tflite::Profiler::EventType: an operation of the interpreter, and two ways of a delegate
# to tell of one inside its partition.
_INTERPRETER, _INSIDE = 2, (4, 8)
_size = ctypes.c_size_t
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


class _Type(ctypes.Structure):
    """LiteRtRankedTensorType; rank is in the low seven bits of `layout`."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("layout", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


def _failed(what: str) -> AgentError:
    return AgentError("EP502", "no profile of operations: %s" % what, "Profile with LiteRT 2.3.")


class _Library:
    """libLiteRt.so: every call made through `call` raises when its status is not 0."""

    def __init__(self) -> None:
        import ai_edge_litert

        library = Path(ai_edge_litert.__file__).resolve().parent / "libLiteRt.so"
        self._library = ctypes.CDLL(str(library))

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, "LiteRt" + name)(*arguments)
        if status:
            raise _failed("LiteRt%s ended with status %d" % (name, status))

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a call returns through its last argument, a handle."""
        handle = ctypes.c_void_p()
        self.call(name, *arguments, _ref(handle))
        return handle


class _Model:
    """A compiled model with its profiler. Nothing is freed: the worker ends with it."""

    def __init__(self, path: str, config: Config) -> None:
        self._library = _Library()
        self.call, make = self._library.call, self._library.make
        self._environment = make("CreateEnvironment", 0, None)
        model = make("CreateModelFromFile", self._environment, os.fsencode(path))
        self._compiled = make(
            "CreateCompiledModel", self._environment, model, self._options(config)
        )
        self.profiler = make("CompiledModelGetProfiler", self._compiled)
        self._signature = make("GetModelSignature", model, _size(0))

    def _options(self, config: Config) -> ctypes.c_void_p:
        options = self._library.make("CreateOptions")
        self.call("SetOptionsHardwareAccelerators", options, _CPU)
        kernels = "xnnpack" if config.xnnpack else "builtin"
        cpu = 'num_threads = %d\nkernel_mode = "%s"\n' % (config.threads, kernels)
        texts = {"runtime_options_string": "enable_profiling = true\n", "xnnpack": cpu}
        # Kept, with the destructor that does nothing, for as long as the model may read them.
        self._kept: List[Any] = [ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)]
        for name, text in texts.items():
            self._kept.append(ctypes.create_string_buffer(text.encode()))
            payload = ctypes.cast(self._kept[-1], ctypes.c_void_p)
            opaque = self._library.make(
                "CreateOpaqueOptions", name.encode(), payload, self._kept[0]
            )
            self.call("AddOpaqueOptions", options, opaque)
        return options

    def runner(self, values: Dict[int, np.ndarray]) -> Callable[[], None]:
        """One inference on these inputs, by tensor index."""
        inputs = self._buffers("Input", values)
        outputs = self._buffers("Output", {})
        sizes = _size(len(inputs)), _size(len(outputs))

        def run() -> None:
            self.call(
                "RunCompiledModel", self._compiled, _size(0), sizes[0], inputs, sizes[1], outputs
            )

        return run

    def _buffers(self, kind: str, values: Dict[int, np.ndarray]) -> Any:
        number = _size()
        self.call("GetNumSignature%ss" % kind, self._signature, _ref(number))
        buffers = (ctypes.c_void_p * number.value)()
        for i in range(number.value):
            tensor = self._library.make(
                "GetSignature%sTensorByIndex" % kind, self._signature, _size(i)
            )
            index = ctypes.c_uint32()
            self.call("GetTensorIndex", tensor, _ref(index))
            shaped = _Type()
            self.call("GetRankedTensorType", tensor, _ref(shaped))
            for axis in range(shaped.layout & 127):  # a free axis is a batch of one
                shaped.dimensions[axis] = max(1, shaped.dimensions[axis])
            wanted = self._library.make(
                "GetCompiledModel%sBufferRequirements" % kind, self._compiled, _size(0), _size(i)
            )
            buffers[i] = self._library.make(
                "CreateManagedTensorBufferFromRequirements",
                self._environment,
                _ref(shaped),
                wanted,
            ).value
            if index.value in values:
                self._fill(ctypes.c_void_p(buffers[i]), values[index.value])
        return buffers

    def _fill(self, buffer: ctypes.c_void_p, value: np.ndarray) -> None:
        size = _size()
        self.call("GetTensorBufferSize", buffer, _ref(size))
        data = np.ascontiguousarray(value).tobytes()
        if len(data) > size.value:
            raise _failed("an input of %d bytes for a buffer of %d" % (len(data), size.value))
        address = ctypes.c_void_p()
        self.call("LockTensorBuffer", buffer, _ref(address), _WRITE)
        ctypes.memmove(address, data, len(data))
        self.call("UnlockTensorBuffer", buffer)

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
    path: str, config: Config, tensors: Sequence[Tensor], values: Sequence[np.ndarray]
) -> Dict[str, Any]:
    """The `ops` event's fields: each operation's time, in the order they ran.

    Times are interquartile means, in nanoseconds: the profiler counts whole microseconds, of
    which a median would lose the small operations, and a mean believes every preemption.
    """
    model = _Model(path, config)
    run = model.runner({t.slot: value for t, value in zip(tensors, values)})
    for _ in range(WARM_UP):
        run()
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
    ops = _over_runs(runs)
    if sum(each["ns"] for each in ops) > 1.2 * max(walls):
        raise _failed("operations that took longer than their inferences")
    total_ns = int(_middle_mean(walls))
    return {"runs": len(runs), "total_ns": total_ns, "estimated": False, "ops": ops}


def _middle_mean(values: Sequence[int]) -> float:
    """The mean of the middle half."""
    cut = len(values) // 4
    middle = sorted(values)[cut : len(values) - cut]
    return sum(middle) / len(middle)


def _over_runs(runs: List[List[Tuple[str, int, int, int]]]) -> List[Dict[str, Any]]:
    """Operation by operation over the runs, which must all be alike."""
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
                "ns": int(1000 * _middle_mean([each[3] for each in column])),
            }
        )
    if not ops or len({len(each) for each in runs}) > 1:
        raise _failed("the profiler told of no operation, or of different ones")
    return ops
