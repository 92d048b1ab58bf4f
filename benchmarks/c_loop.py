"""The C loop of `fidelity`: what an inference takes without Python around it."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.resources import agent_source

sys.path.insert(0, str(agent_source().parent))

from edgepack_agent import cores
from edgepack_agent.runtimes import capi
from edgepack_agent.runtimes.base import Config

HERE = Path(__file__).resolve().parent
ROUND_NS = 40e6  # on one core, as long as the agent's rounds stay on theirs


class CLoop:
    """The C loop over the library that the agent's runtime uses, by its handles."""

    def __init__(self, scratch: Path) -> None:
        target = scratch / "invoke_loop.so"
        source = str(HERE / "invoke_loop.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(target), source], check=True)
        self._loop = ctypes.CDLL(str(target)).invoke_loop

    def p50_us(self, file: Path, seconds: float, rng: random.Random) -> float:
        """p50 after a tenth of the time as warm-up; one thread, XNNPACK, as in the agent.

        Like the agent it draws a core for each 40 ms, a tenth more before them that do not count:
        the cores of a virtual machine differ.
        """
        loop = self._loaded(file)
        typical = float(np.median(loop(50)))
        loop(max(10, int(seconds * 1e8 / typical)))
        own = cores.fastest("cpu")
        n = max(1, int(ROUND_NS / typical))
        rounds = []
        try:
            for _ in range(max(1, int(seconds * 1e9 / (n * typical)))):
                cores.stay_on([rng.choice(own)])
                loop(max(1, n // 10))
                rounds.append(loop(n))
        finally:
            cores.stay_on(own)  # children inherit it
        return float(np.median(np.concatenate(rounds))) / 1e3

    def _loaded(self, file: Path) -> Callable[[int], np.ndarray]:
        """The file compiled anew, with one sample in place: gives the times of n inferences."""
        from ai_edge_litert.interpreter import Interpreter

        model = capi.Model(capi.Library(), str(file), Config(1, "cpu", True, {}))
        values = _sample(Interpreter(str(file)).get_input_details())
        inputs, outputs = model.buffers("Input"), model.buffers("Output")
        for index, buffer in zip(model.inputs, inputs, strict=True):
            model.fill(buffer, values[index])
        run = model.library.function("RunCompiledModel")

        def loop(n: int) -> np.ndarray:
            ns = (ctypes.c_uint64 * n)()
            size = ctypes.c_size_t
            arguments = (run, model.handle, size(len(inputs)), inputs, size(len(outputs)))
            if self._loop(*arguments, outputs, ns, size(n)):
                raise SystemExit("LiteRtRunCompiledModel failed in the C loop")
            return np.array(ns, dtype=np.float64)

        return loop


def _sample(details: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    """A value for each input: drawn where it is float, else zeros."""
    rng = np.random.default_rng(0)
    drawn = {d["index"]: rng.random(d["shape"]) * (d["dtype"] == np.float32) for d in details}
    return {d["index"]: drawn[d["index"]].astype(d["dtype"]) for d in details}
