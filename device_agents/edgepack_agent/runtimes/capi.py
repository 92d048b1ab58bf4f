"""The C interface of LiteRT's library, which can do what its Python bindings leave out.

Looked at in ai-edge-litert 2.3.0: option payloads are TOML texts. Every call that fails is a
RuntimeError, as those of the bindings are.
"""

import ctypes
import os
from pathlib import Path
from typing import Any, List, Set, Tuple

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Config, Shape

_CPU = 1  # kLiteRtHwAcceleratorCpu
_READ, _WRITE = 0, 1  # of LiteRtTensorBufferLockMode
_size = ctypes.c_size_t
_ref = ctypes.byref


class _Layout(ctypes.Structure):
    """LiteRtLayout; rank is in the low seven bits of `bits`."""

    _fields_ = [
        ("bits", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]

    def shape(self) -> Shape:
        """A free axis is a batch of one."""
        return tuple(max(1, size) for size in self.dimensions[: self.bits & 127])


class _Type(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = [("element", ctypes.c_int), ("layout", _Layout)]


class Library:
    """libLiteRt.so: every call made through `call` raises when its status is not 0."""

    def __init__(self) -> None:
        """ImportError when ai-edge-litert is missing, OSError when it has no such library."""
        import ai_edge_litert

        library = Path(ai_edge_litert.__file__).resolve().parent / "libLiteRt.so"
        self._library = ctypes.CDLL(str(library))

    def function(self, name: str) -> Any:
        """LiteRt`name`. AgentError EP405 where this version of the library has none."""
        try:
            return getattr(self._library, "LiteRt" + name)
        except AttributeError:
            raise AgentError(
                "EP405", "this libLiteRt.so has no LiteRt%s" % name, "Bring ai-edge-litert 2.3."
            ) from None

    def call(self, name: str, *arguments: Any) -> None:
        """RuntimeError when its status is not 0."""
        status = self.function(name)(*arguments)
        if status:
            raise RuntimeError("LiteRt%s ended with status %d" % (name, status))

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a call returns through its last argument, a handle."""
        handle = ctypes.c_void_p()
        self.call(name, *arguments, _ref(handle))
        return handle


class Model:
    """A model compiled for the CPU. Nothing is freed: the worker ends with it.

    signature: the number of the one that is run; inputs, outputs: the indices of its tensors, in
    the order that running it takes them.
    """

    def __init__(self, library: Library, path: str, config: Config, profiled: bool = False) -> None:
        self.library = library
        self.call, make = library.call, library.make
        self._environment = make("CreateEnvironment", 0, None)
        self._model = make("CreateModelFromFile", self._environment, os.fsencode(path))
        options = self._options(config, profiled)
        self.handle = make("CreateCompiledModel", self._environment, self._model, options)
        self.choose(0)

    def _options(self, config: Config, profiled: bool) -> ctypes.c_void_p:
        options = self.library.make("CreateOptions")
        self.call("SetOptionsHardwareAccelerators", options, _CPU)
        kernels = "xnnpack" if config.xnnpack else "builtin"
        texts = {"xnnpack": 'num_threads = %d\nkernel_mode = "%s"\n' % (config.threads, kernels)}
        if profiled:
            texts["runtime_options_string"] = "enable_profiling = true\n"
        # Kept, with the destructor that does nothing, for as long as the model may read them.
        self._kept: List[Any] = [ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)]
        for name, text in texts.items():
            self._kept.append(ctypes.create_string_buffer(text.encode()))
            payload = ctypes.cast(self._kept[-1], ctypes.c_void_p)
            opaque = self.library.make("CreateOpaqueOptions", name.encode(), payload, self._kept[0])
            self.call("AddOpaqueOptions", options, opaque)
        return options

    def choose(self, signature: int) -> None:
        """Run this signature from now on."""
        self.signature = _size(signature)
        self._described = self.library.make("GetModelSignature", self._model, self.signature)
        self.inputs, self.outputs = self._tensors("Input"), self._tensors("Output")

    def choose_with(self, inputs: Set[int]) -> None:
        """Run the signature over exactly these input tensors."""
        number = _size()
        self.call("GetNumModelSignatures", self._model, _ref(number))
        for signature in range(number.value):
            self.choose(signature)
            if set(self.inputs) == inputs:
                return
        raise RuntimeError("no signature takes the model's inputs")

    def _tensors(self, kind: str) -> List[int]:
        number = _size()
        self.call("GetNumSignature%ss" % kind, self._described, _ref(number))
        found = []
        for i in range(number.value):
            index = ctypes.c_uint32()
            self.call("GetTensorIndex", self._tensor(kind, i), _ref(index))
            found.append(index.value)
        return found

    def _tensor(self, kind: str, i: int) -> ctypes.c_void_p:
        return self.library.make("GetSignature%sTensorByIndex" % kind, self._described, _size(i))

    def fully_accelerated(self) -> bool:
        """Whether XNNPACK took every operation."""
        told = ctypes.c_bool()
        self.call("CompiledModelIsFullyAccelerated", self.handle, _ref(told))
        return told.value

    def resize(self, i: int, shape: Shape) -> None:
        """Give input `i` another shape than the model's; before the buffers are made."""
        name, rank = "CompiledModelResizeInputTensorNonStrict", len(shape)
        dimensions = (ctypes.c_int * rank)(*shape)
        self.call(name, self.handle, self.signature, _size(i), dimensions, _size(rank))

    def shapes(self, kind: str) -> List[Shape]:
        """Of the "Input"s or the "Output"s, as they are after every `resize`."""
        return [layout.shape() for layout in self._layouts(kind)]

    def _layouts(self, kind: str) -> Any:
        which = self.handle, self.signature
        if kind == "Output":
            found = (_Layout * len(self.outputs))()
            allocate = ctypes.c_bool(True)  # after which all that was resized is known
            name = "GetCompiledModelOutputTensorLayouts"
            self.call(name, *which, _size(len(found)), found, allocate)
        else:
            found = (_Layout * len(self.inputs))()
            for i, layout in enumerate(found):
                self.call("GetCompiledModelInputTensorLayout", *which, _size(i), _ref(layout))
        return found

    def buffers(self, kind: str) -> Any:
        """An array of new buffers, one an "Input" or "Output"."""
        layouts = self._layouts(kind)
        buffers = (ctypes.c_void_p * len(layouts))()
        for i, layout in enumerate(layouts):
            shaped = _Type()
            self.call("GetRankedTensorType", self._tensor(kind, i), _ref(shaped))
            for axis, size in enumerate(layout.shape()):
                layout.dimensions[axis] = size
            shaped.layout = layout
            name = "GetCompiledModel%sBufferRequirements" % kind
            wanted = self.library.make(name, self.handle, self.signature, _size(i))
            name = "CreateManagedTensorBufferFromRequirements"
            made = self.library.make(name, self._environment, _ref(shaped), wanted)
            buffers[i] = made.value
        return buffers

    def fill(self, buffer: int, value: np.ndarray) -> None:
        """Copy a value into a buffer of its size or a larger one."""
        value = np.ascontiguousarray(value)
        ctypes.memmove(self._lock(buffer, _WRITE, value), value.ctypes.data, value.nbytes)
        self.call("UnlockTensorBuffer", ctypes.c_void_p(buffer))

    def read(self, buffer: int, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """A copy of what a buffer holds."""
        value = np.empty(shape, dtype)
        ctypes.memmove(value.ctypes.data, self._lock(buffer, _READ, value), value.nbytes)
        self.call("UnlockTensorBuffer", ctypes.c_void_p(buffer))
        return value

    def _lock(self, buffer: int, mode: int, value: np.ndarray) -> ctypes.c_void_p:
        self.check_size(buffer, value.nbytes)
        address = ctypes.c_void_p()
        self.call("LockTensorBuffer", ctypes.c_void_p(buffer), _ref(address), mode)
        return address

    def check_size(self, buffer: int, size: int) -> None:
        """RuntimeError when a buffer holds fewer bytes."""
        held = _size()
        self.call("GetTensorBufferSize", ctypes.c_void_p(buffer), _ref(held))
        if size > held.value:
            raise RuntimeError("a tensor of %d bytes for a buffer of %d" % (size, held.value))

    def arguments(self, inputs: Any, outputs: Any) -> Tuple[Any, ...]:
        """Those of RunCompiledModel."""
        many = _size(len(inputs)), _size(len(outputs))
        return self.handle, self.signature, many[0], inputs, many[1], outputs
