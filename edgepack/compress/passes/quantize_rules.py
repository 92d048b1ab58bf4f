"""`quantize.rules`: a float file quantized operator by operator, without TensorFlow's converter.

The search uses it for its many candidates, because ai-edge-quantizer takes milliseconds where
the converter takes seconds. It has no word in the recipe grammar: a recipe file names it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgepack.compress.calibration import Method, Ranges
from edgepack.compress.calibration_data import Calibrated, SampleParams, calibrated
from edgepack.compress.converter import float_file
from edgepack.compress.flatbuffer_quantizer import INT4_KINDS, Rule, edge_quantize, kept
from edgepack.compress.flatgraph import read
from edgepack.compress.network import Network
from edgepack.compress.passes.base import Context, Pass, State
from edgepack.errors import EdgepackError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class RulesParams(SampleParams):
    """activations: "float" quantizes them on the fly. weights: bits (4 for convolutions and
    dense layers, then 8 for others). keep: operators, by the name of their first output, that
    stay in `fallback`. calibration: see `calibration`; of integer activations only."""

    activations: Literal["float", "int8", "int16"] = "int8"
    weights: Literal[4, 8] = 8
    keep: tuple[str, ...] = ()
    fallback: Literal["float", "int16"] = "float"
    calibration: Method = "minmax"


class QuantizeRules(Pass):
    """Quantizes by rules, with ai-edge-quantizer."""

    name = "quantize.rules"
    summary = "int4, int8 or int16 by operator, straight on the float file"
    converts = True
    Params = RulesParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`. EP206 for an operator that is not there."""
        params: RulesParams = self.params
        content = float_file(state, context)
        if params.activations == "float":
            return replace(state, tflite=by_rules(content, params, None)), ()
        found = ranges_for(content, state.network, context, params)
        quantized = by_rules(content, params, found.ranges)
        return replace(state, tflite=quantized, calibration=found.sources), found.notes


def ranges_for(
    content: bytes, network: Network, context: Context, params: RulesParams
) -> Calibrated:
    """The ranges that `by_rules` needs for integer activations. EP105 as `calibrated`."""
    bits = 8 if params.activations == "int8" else 16
    return calibrated(content, network, context, params, params.calibration, bits=bits)


def by_rules(content: bytes, params: RulesParams, ranges: Ranges | None) -> bytes:
    """The float file quantized as the parameters say. EP204, EP206."""
    graph = read(content)
    names = [graph.tensors[graph.inputs[0]].name, *(graph.name(op) for op in graph.ops)]
    for name in params.keep:
        if name not in names:
            raise EdgepackError(
                "EP206", f"No operator makes '{name}'", hint=did_you_mean(name, names)
            )
    rules = [Rule(activations=params.activations)]
    if params.weights == 4:
        rules += [Rule(kind=k, activations=params.activations, weights=4) for k in INT4_KINDS]
    if params.activations == "int16":
        # The ends stay float, as those of `int16x8` do.
        rules += [Rule(kind=k, activations="float", weights=None) for k in ("INPUT", "OUTPUT")]
    return edge_quantize(content, [*rules, *kept(params.keep, params.fallback)], ranges)
