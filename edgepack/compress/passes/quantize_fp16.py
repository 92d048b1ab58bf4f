"""`fp16`: float16 weights."""

from __future__ import annotations

from typing import Any

from edgepack.compress.converter import convert
from edgepack.compress.passes.base import Context, Pass, State, Token


class QuantizeFp16(Pass):
    """Stores weights as float16: half the bytes. CPUs compute in float32 as before."""

    name = "quantize.fp16"
    summary = "float16 weights, float32 activations"
    tokens = (Token("fp16"),)
    converts = True

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""

        def configure(tf: Any, converter: Any) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]

        return convert(state, context, configure), ()
