"""`int4w`: weights of four bits where the runtime's kernels take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgepack.compress.calibration import Ranges
from edgepack.compress.calibration_data import SampleParams, calibrated
from edgepack.compress.converter import float_file
from edgepack.compress.flatbuffer_quantizer import INT4_KINDS, Rule, edge_quantize
from edgepack.compress.flatgraph import read
from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.errors import EdgepackError


@dataclass(frozen=True, kw_only=True)
class Int4Params(SampleParams):
    """activations: "float" (quantized on the fly, like dynamic) or "int8" (inputs and outputs
    too, calibrated; samples and by are for it)."""

    activations: Literal["float", "int8"] = "float"


class QuantizeInt4Weights(Pass):
    """int4 weights by channel for convolutions and dense layers, int8 for other weights."""

    name = "quantize.int4-weights"
    summary = "int4 weights for convolutions and dense layers, float or int8 activations"
    tokens = (Token("int4w"),)
    converts = True
    Params = Int4Params

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`. EP206 when no layer can have int4 weights."""
        content = float_file(state, context)
        graph = read(content)
        if not any(op.kind in INT4_KINDS for op in graph.ops):
            raise EdgepackError(
                "EP206",
                "No layer of this model can have int4 weights",
                hint="Only convolutions and dense layers can; use 'int8' or 'dynamic'.",
            )
        activations = self.params.activations
        rules = [
            Rule(activations=activations),
            *(Rule(kind=kind, activations=activations, weights=4) for kind in INT4_KINDS),
        ]
        ranges: Ranges | None = None
        notes: tuple[str, ...] = ()
        if activations == "int8":
            found = calibrated(content, state.network, context, self.params)
            ranges, notes = found.ranges, found.notes
            state = replace(state, calibration=found.sources)
        quantized = edge_quantize(content, rules, ranges)
        small = sum(t.dtype == "int4" for t in read(quantized).tensors)
        note = (
            f"{small} weight tensors have 4 bits (ai-edge-quantizer); training for it is advised."
        )
        return replace(state, tflite=quantized), (*notes, note)
