"""Quantizing a float `.tflite` without going back to the network: two backends.

`tensorflow_int8` hands the file to the quantizer inside TensorFlow's converter, with ranges
that edgepack measured written into it. `edge_quantize` is ai-edge-quantizer: it takes rules
by operator, knows int4 weights and int16 activations, and needs no TensorFlow. Its own
calibration is left out on purpose: it averages the ranges of the samples (a moving average,
weight 0.95), which clips what few samples reach.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgepack.compress.calibration import Ranges
from edgepack.compress.flatgraph import FlatGraph, read
from edgepack.compress.flatmodel import unpacked
from edgepack.compress.native import quiet, tensorflow
from edgepack.errors import EdgepackError

Activations = Literal["float", "int8", "int16"]
# ai-edge-quantizer's policy knows int4 weights for these; the others' stay int8.
INT4_KINDS = ("FULLY_CONNECTED", "CONV_2D")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How operators are quantized; of several that match, the last one counts.

    layer: the name of an operator's first output, or of the model's first input for all of
    its inputs; None for all. A named operator that cannot follow the rule stays float. kind:
    an operator's schema name, None for all that can be quantized. weights: bits. activations
    "float" with weights None leaves the operator in float; with weights they are quantized on
    the fly.
    """

    layer: str | None = None
    kind: str | None = None
    activations: Activations = "int8"
    weights: Literal[4, 8] | None = 8


def tensorflow_int8(content: bytes, ranges: Ranges) -> bytes:
    """Full int8 (inputs and outputs too) of a float file, by TensorFlow's own quantizer.

    ranges: as `calibration.measure_ranges` gives them. EP204 when the quantizer refuses.
    """
    tf = tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    annotated = annotate(content, ranges)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            quantized: Any = mlir_quantize(
                annotated,
                fully_quantize=True,
                input_data_type=tf.int8,
                output_data_type=tf.int8,
            )
    except Exception as error:
        raise _refused("TensorFlow's quantizer", error) from error
    return bytes(quantized)


def annotate(content: bytes, ranges: Ranges) -> bytes:
    """The float file with (low, high) written beside each activation that `ranges` names."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            ends = ranges.get(tensor.name.decode())
            if ends is not None and tensor.type == schema.TensorType.FLOAT32:
                tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
                tensor.quantization.min, tensor.quantization.max = [ends[0]], [ends[1]]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def edge_quantize(content: bytes, rules: Sequence[Rule], ranges: Ranges | None = None) -> bytes:
    """A float file quantized by rules, by ai-edge-quantizer.

    ranges: needed when a rule has integer activations. EP204 when the quantizer refuses.
    """
    from ai_edge_quantizer import quantizer

    worker = quantizer.Quantizer(bytearray(content))
    statistics: Any = None if ranges is None else _statistics(read(content), ranges)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            for rule in rules:
                _add(worker, rule)
            if not worker.get_quantization_recipe():
                return content
            result: Any = worker.quantize(
                statistics if worker.need_calibration else None,
                enable_progress_bar=False,
                enable_progress_report=False,
            )
    except Exception as error:
        raise _refused("ai-edge-quantizer", error) from error
    return bytes(result.quantized_model)


def kept(layers: Iterable[str], fallback: Activations) -> list[Rule]:
    """Rules that keep these layers in float, or in int16 with int8 weights."""
    weights: Literal[8] | None = None if fallback == "float" else 8
    return [Rule(layer=name, activations=fallback, weights=weights) for name in sorted(layers)]


def _add(worker: Any, rule: Rule) -> None:
    from ai_edge_quantizer import qtyping

    # An operator's scope is its output names, each followed by a semicolon.
    scope = ".*" if rule.layer is None else f"^{re.escape(rule.layer)};"
    kind = qtyping.TFLOperationName(rule.kind or "*")
    if rule.weights is None or rule.layer is not None:
        worker.update_quantization_recipe(scope, kind, algorithm_key="no_quantize")
    if rule.weights is None:
        return
    # A rule that the operator cannot follow is skipped: then it stays float by the one above.
    # Equal expressions replace each other, so that this one is written in another way.
    scope = f"(?:{scope})"
    if rule.activations == "float":
        worker.add_dynamic_config(scope, kind, rule.weights)
    else:
        bits = 8 if rule.activations == "int8" else 16
        worker.add_static_config(scope, kind, bits, rule.weights)


def _statistics(graph: FlatGraph, ranges: Ranges) -> Mapping[str, Any]:
    """Ranges as ai-edge-quantizer holds them: arrays of as many axes as the tensor has."""
    return {
        tensor.name: {
            side: np.full((1,) * len(tensor.shape), end, np.float32)
            for side, end in zip(("min", "max"), ranges[tensor.name], strict=True)
        }
        for tensor in graph.tensors
        if tensor.data is None and tensor.name in ranges
    }


def _refused(who: str, error: Exception) -> EdgepackError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = (lines or [type(error).__name__])[0][:300]
    return EdgepackError(
        "EP204",
        f"{who} refused the model: {reason}",
        hint="Try 'int8' with its defaults, 'dynamic' or 'float'.",
    )
