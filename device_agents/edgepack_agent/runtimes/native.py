"""LiteRT's C interface, with inferences that are timed by a loop in C: what a native application
sees. Python around an inference of two microseconds takes as long as the inference.

The loop is compiled here with the board's own compiler, and where there is none this runtime is
not to be had.
"""

import ctypes
import os
import shutil
import subprocess
from array import array
from typing import Any, Callable, List, Tuple

import numpy as np

from edgepack_agent.blobs import agent_home
from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Config, Ops, Runtime, Shape, Tensor, check_batch
from edgepack_agent.runtimes.capi import Library, Model
from edgepack_agent.runtimes.tflite_interpreter import on_cpu, survey

COMPILERS = ("cc", "gcc", "clang")
# What the library got last, of all that is called; the others are missed when they are called.
_NEWEST = ("CompiledModelResizeInputTensorNonStrict", "GetCompiledModelOutputTensorLayouts")
_PASSED = ("RunCompiledModel", "LockTensorBuffer", "UnlockTensorBuffer")
# sample: an address for each input of each inference; whole: see `timing.run`.
_LOOP = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
typedef int (*run_fn)(void *, size_t, size_t, void **, size_t, void **);
typedef int (*lock_fn)(void *, void **, int);
typedef int (*unlock_fn)(void *);
static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
void readings(uint64_t *ns, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint64_t start = now();
    ns[i] = now() - start;
  }
}
int run_block(run_fn run, lock_fn lock, unlock_fn unlock, void *model, size_t signature,
              size_t inputs, void **input, size_t outputs, void **output, const size_t *size,
              const void **sample, size_t n, int whole, uint64_t *ns) {
  uint64_t start = now(), end;
  for (size_t i = 0; i < n; i++, start = end) {
    int status;
    void *to;
    for (size_t k = 0; k < inputs; k++) {
      if ((status = lock(input[k], &to, 1))) return status;
      memcpy(to, *sample++, size[k]);
      if ((status = unlock(input[k]))) return status;
    }
    if (!whole) start = now();
    status = run(model, signature, inputs, input, outputs, output);
    end = now();
    if (status) return status;
    ns[i] = end - start;
  }
  return 0;
}
"""


class NativeLiteRt(Runtime):
    """One compiled model of ai-edge-litert on the CPU, through the C interface."""

    name = "ai-edge-litert"

    def interpreter_class(self) -> Any:
        """ImportError or OSError when ai-edge-litert is missing; AgentError EP405 when its
        library lacks a function, or when there is no compiler for the loop."""
        from ai_edge_litert.interpreter import Interpreter

        self._library = Library()
        for name in _NEWEST + _PASSED:
            self._library.function(name)
        _compiler()
        return Interpreter

    def _survey(self, path: str) -> None:
        self._described, self._ops = survey(path, self.interpreter_class())
        self._loop = _compiled()

    def _open(self, path: str, config: Config) -> Tuple[List[Tensor], List[Tensor]]:
        self._model = Model(self._library, path, config)
        self._model.choose_with({tensor.slot for tensor in self._described[0]})
        self._ops = on_cpu(self._ops, config, self._model.fully_accelerated())
        return self._described

    def _allocate(self, shapes: List[Shape]) -> Callable[[], Any]:
        model = self._model
        slots = [tensor.slot for tensor in self.inputs]
        # Which array of a sample belongs to which input of the signature.
        self._order = [slots.index(slot) for slot in model.inputs]
        for i, given in enumerate(model.shapes("Input")):
            wanted = shapes[self._order[i]]
            if given != wanted:
                model.resize(i, wanted)
        self._shapes = dict(zip(model.outputs, model.shapes("Output")))
        if self._resized:
            check_batch(self._shapes.values(), shapes[0][0])
        inputs, outputs = model.buffers("Input"), model.buffers("Output")
        self._into, self._from = dict(zip(model.inputs, inputs)), dict(zip(model.outputs, outputs))
        self._arguments = model.arguments(inputs, outputs)
        self._nbytes = [
            int(np.prod(shapes[i])) * self.inputs[i].dtype.itemsize for i in self._order
        ]
        for buffer, size in zip(inputs, self._nbytes):
            model.check_size(buffer, size)  # C copies without asking
        self.run_block, self.clock = self._run_block, self._readings
        return self._invoke

    def _invoke(self) -> None:
        try:
            self._model.call("RunCompiledModel", *self._arguments)
        except RuntimeError as error:
            raise self._not_run(error) from None

    def _not_run(self, error: Exception) -> AgentError:
        return self._failed("cannot run the model", error)

    def _run_block(self, samples: List[List[np.ndarray]], whole: bool) -> "array[int]":
        arrays = [np.ascontiguousarray(sample[i]) for sample in samples for i in self._order]
        assert [value.nbytes for value in arrays] == self._nbytes * len(samples)
        addresses = (ctypes.c_void_p * len(arrays))(*(value.ctypes.data for value in arrays))
        sizes = (ctypes.c_size_t * len(self._nbytes))(*self._nbytes)
        latencies, into = _room(len(samples))
        status = self._loop.run_block(
            *map(self._library.function, _PASSED),
            *self._arguments,
            sizes,
            addresses,
            ctypes.c_size_t(len(samples)),
            whole,
            into,
        )
        if status:
            raise self._not_run(RuntimeError("LiteRT ended with status %d" % status))
        return latencies

    def _readings(self, repeats: int) -> "array[int]":
        costs, into = _room(repeats)
        self._loop.readings(into, ctypes.c_size_t(repeats))
        return costs

    def _set(self, tensor: Tensor, value: np.ndarray) -> None:
        self._model.fill(self._into[tensor.slot], value)

    def _get(self, tensor: Tensor) -> np.ndarray:
        slot = tensor.slot
        return self._model.read(self._from[slot], self._shapes[slot], tensor.dtype)

    def ops(self) -> Ops:
        """As counted when the model was compiled."""
        return self._ops


def _room(n: int) -> "Tuple[array[int], Any]":
    """n whole numbers of 64 bits, and the same as C takes them."""
    numbers = array("Q", bytes(8 * n))
    return numbers, (ctypes.c_uint64 * n).from_buffer(numbers)


def _unusable(what: str, hint: str) -> AgentError:
    return AgentError("EP405", what, hint)


def _compiler() -> str:
    for name in COMPILERS:
        path = shutil.which(name)
        if path:
            return path
    raise _unusable(
        "no C compiler (cc, gcc or clang) is installed",
        "Install one, or measure with another interface.",
    )


def _compiled() -> ctypes.CDLL:
    """The loop, compiled and loaded. Its file is removed at once; one that a killed worker leaves
    goes with the agents' parts."""
    folder = agent_home() / "agent"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / ("loop-%d.part" % os.getpid())
    command = [_compiler(), "-std=gnu99", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o"]
    try:
        done = subprocess.run(
            [*command, str(target)],
            input=_LOOP.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            raise _unloadable(_first_error(done.stderr.decode("utf-8", "replace")))
        return ctypes.CDLL(str(target))
    except OSError as error:
        raise _unloadable(str(error)) from None
    finally:
        if target.exists():
            target.unlink()


def _first_error(said: str) -> str:
    lines = said.strip().splitlines() or ["the compiler says nothing"]
    return next((line for line in lines if "error" in line), lines[0])


def _unloadable(why: str) -> AgentError:
    return _unusable(
        "the loop in C that times inferences cannot be made: %s" % why,
        "Check the board's C compiler, and that EDGEPACK_AGENT_HOME is neither full nor noexec.",
    )
