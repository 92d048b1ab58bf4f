"""`int8` and `int16x8`: integers throughout, calibrated from the data.

With calibration "minmax" the TensorFlow converter does all of it. It knows no other ranges;
for "percentile" and "mse" edgepack measures them on the float file (`calibration`) and hands
both to a quantizer that takes ranges: TensorFlow's own for int8, ai-edge-quantizer for
int16x8, which TensorFlow's cannot do from given ranges. Ranges that come from devices, whose data
stay there, go to ai-edge-quantizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from edgepack.compress.calibration import PERCENTILE, Method
from edgepack.compress.calibration_data import (
    Calibrated,
    SampleParams,
    calibrated,
    draw,
    one_by_one,
)
from edgepack.compress.converter import convert, float_file
from edgepack.compress.facts import Fact
from edgepack.compress.flatbuffer_quantizer import Rule, edge_quantize, tensorflow_int8
from edgepack.compress.passes.base import Context, Pass, State, Token


@dataclass(frozen=True, kw_only=True)
class CalibrationParams(SampleParams):
    """calibration: how a range follows from the values seen; percentile: of "percentile",
    what is kept at each end."""

    calibration: Method = "minmax"
    percentile: Annotated[float, Field(gt=50, le=100)] = PERCENTILE


class QuantizeInt8(Pass):
    """Full integer quantization: int8 weights, activations, inputs and outputs."""

    name = "quantize.int8"
    summary = "int8 throughout, inputs and outputs too"
    tokens = (Token("int8"),)
    converts = True
    Params = CalibrationParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        if _by_ranges(self.params, context):
            return _from_ranges(state, context, self.params, _int8, bits=8)
        data = draw(state.network, context, self.params)

        def configure(tf: Any, converter: Any) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = one_by_one(data.inputs)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8

        return convert(state, context, configure), data.notes


class QuantizeInt16x8(Pass):
    """int16 activations with int8 weights: nearer to float, slower than int8."""

    name = "quantize.int16x8"
    summary = "int16 activations, int8 weights; float inputs and outputs"
    tokens = (Token("int16x8"),)
    converts = True
    Params = CalibrationParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        if _by_ranges(self.params, context):
            return _from_ranges(state, context, self.params, _int16x8, bits=16)
        data = draw(state.network, context, self.params)

        def configure(tf: Any, converter: Any) -> None:
            ops = tf.lite.OpsSet
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = one_by_one(data.inputs)
            converter.target_spec.supported_ops = [
                ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]

        return convert(state, context, configure), data.notes


# What ai-edge-quantizer calls the model's own inputs and outputs.
_ENDS = ("INPUT", "OUTPUT")


def _by_ranges(params: CalibrationParams, context: Context) -> bool:
    """Whether ranges are given to a quantizer: the converter only takes samples."""
    return params.calibration != "minmax" or context.calibrator is not None


def _from_ranges(
    state: State,
    context: Context,
    params: CalibrationParams,
    quantize: Callable[[bytes, Calibrated], tuple[bytes, str]],
    *,
    bits: Literal[8, 16],
) -> tuple[State, tuple[str, ...]]:
    """The float file quantized by its ranges; `quantize` also names the quantizer."""
    content, how = float_file(state, context), params.calibration
    found = calibrated(
        content, state.network, context, params, how, percentile=params.percentile, bits=bits
    )
    quantized, quantizer = quantize(content, found)
    notes = found.notes
    if not found.sources:
        kept = f" {params.percentile:g}" if how == "percentile" else ""
        said = f"Ranges by {how}{kept} of the calibration samples, quantized by {quantizer}."
        notes = (*notes, Fact(said))
    return replace(state, tflite=quantized, calibration=found.sources), notes


def _int8(content: bytes, found: Calibrated) -> tuple[bytes, str]:
    if found.sources:
        return edge_quantize(content, [Rule()], found.ranges), "ai-edge-quantizer"
    return tensorflow_int8(content, found.ranges), "TensorFlow's quantizer"


def _int16x8(content: bytes, found: Calibrated) -> tuple[bytes, str]:
    ends = [Rule(kind=kind, activations="float", weights=None) for kind in _ENDS]
    rules = [Rule(activations="int16"), *ends]
    return edge_quantize(content, rules, found.ranges), "ai-edge-quantizer"
