"""`dynamic`: int8 weights, activations quantized at run time."""

from __future__ import annotations

from typing import Any

from edgepack.compress.converter import convert
from edgepack.compress.passes.base import Context, Pass, State, Token


class QuantizeDynamic(Pass):
    """Stores weights as int8 by channel; needs no data."""

    name = "quantize.dynamic"
    summary = "int8 weights, activations quantized on the fly"
    tokens = (Token("dynamic"),)
    converts = True

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""

        def configure(tf: Any, converter: Any) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]

        return convert(state, context, configure), ()
