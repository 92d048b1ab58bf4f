"""Runs a `.tflite` in a child process: `python -m edgepack.compress.runner MODEL IN OUT REPORT`.

A converter's output, and even more a file from elsewhere, can crash the interpreter; then
this process dies and not edgepack. IN is an npz with an array a signature input (first axis:
samples; real values), or "-" to load and read the file only. OUT gets the real-valued
outputs; REPORT gets the file's `inspect.Summary` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.compress import limits
from edgepack.compress.inspect import summarize
from edgepack.compress.levels import dequantize, quantize
from edgepack.data.dataset import Array
from edgepack.data.npz import npz_bytes, read_npz
from edgepack.model import Signature


def main(model: str, inputs: str, outputs: str, report: str) -> None:
    """Load, run when there are inputs, write the outputs and the summary."""
    from ai_edge_litert.interpreter import Interpreter

    limits.bound()
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    summary = summarize(Path(model).read_bytes())
    if inputs != "-":
        results = _infer(interpreter, summary.signature, read_npz(Path(inputs)))
        Path(outputs).write_bytes(npz_bytes(results))
    Path(report).write_text(json.dumps(dataclasses.asdict(summary)), encoding="utf-8")


def _infer(interpreter: Any, signature: Signature, arrays: dict[str, Array]) -> dict[str, Array]:
    """Real outputs by name for all samples, one inference a sample."""
    ins = interpreter.get_input_details()
    for detail, spec in zip(ins, signature.inputs, strict=True):
        if -1 in detail["shape_signature"]:
            interpreter.resize_tensor_input(detail["index"], (1, *arrays[spec.name].shape[1:]))
    interpreter.allocate_tensors()
    outs = interpreter.get_output_details()
    collected: dict[str, list[Array]] = {spec.name: [] for spec in signature.outputs}
    for row in range(len(next(iter(arrays.values())))):
        for detail, spec in zip(ins, signature.inputs, strict=True):
            sample = arrays[spec.name][row : row + 1]
            interpreter.set_tensor(detail["index"], _stored(sample, detail))
        interpreter.invoke()
        for detail, spec in zip(outs, signature.outputs, strict=True):
            collected[spec.name].append(_real(interpreter.get_tensor(detail["index"]), detail))
    return {name: np.concatenate(parts) for name, parts in collected.items()}


def _stored(real: Array, detail: dict[str, Any]) -> Array:
    """Values in the tensor's type."""
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    if not scale:
        return real.astype(dtype)
    return quantize(real, scale, zero_point, dtype)


def _real(stored: Array, detail: dict[str, Any]) -> Array:
    """Real values of a tensor."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return np.array(stored)
    return dequantize(stored, scale, zero_point)


if __name__ == "__main__":
    main(*sys.argv[1:])
