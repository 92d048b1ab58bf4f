"""`qat`: int8 throughout, after a training that feels the rounding, by TFMOT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from edgepack.compress import zeros
from edgepack.compress.converter import convert_saved_model
from edgepack.compress.on_devices import unsuited
from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.compress.tfmot import host


@dataclass(frozen=True, kw_only=True)
class QatParams(host.TuningParams):
    """See `TuningParams`; QAT also has the activations' ranges to learn, so it takes longer."""

    steps: Annotated[int, Field(ge=1)] = 150
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4


class QuantizeQat(Pass):
    """Quantization-aware training; keeps zeros and clusters that earlier passes made."""

    name = "quantize.qat"
    summary = "int8 throughout, inputs and outputs too, by quantization-aware training"
    tokens = (Token("qat"),)
    converts = True
    Params: ClassVar[type[QatParams]] = QatParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`. EP105 on devices' data."""
        if context.calibrator is not None:
            raise unsuited("'qat'", "it learns its ranges while it trains on this host")
        params = {"keep_zeros": state.sparse, "clusters": state.clusters}
        result = host.run("qat", state.network, context, self.params, params)
        report = result.report

        def configure(tf: Any, converter: Any) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if not report["float_inputs"]:
                converter.inference_input_type = tf.int8
            if not report["float_outputs"]:
                converter.inference_output_type = tf.int8

        content = convert_saved_model(result.folder / "saved_model", context, configure)
        notes = host.left_out_notes(report, "stays float")
        if state.sparse or state.clusters:
            notes += zeros.lost(result.network, content, clusters=state.clusters)
        after = replace(state, network=result.network, tflite=content)
        return after, (*notes, *result.notes)
