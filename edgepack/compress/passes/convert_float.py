"""`float`: the network as it is, in float32."""

from __future__ import annotations

from edgepack.compress.converter import convert
from edgepack.compress.passes.base import Context, Pass, State, Token


class ConvertFloat(Pass):
    """Converts without quantizing: the variant that all others are compared with."""

    name = "convert.float"
    summary = "float32 weights and activations"
    tokens = (Token("float"),)
    converts = True

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        return convert(state, context, lambda tf, converter: None), ()
