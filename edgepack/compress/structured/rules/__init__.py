"""How each kind of layer treats channels: one short function a kind.

A rule gets the atoms of a call's inputs, writes down in the ledger which weights and
configuration entries run over which atoms, couples what must stay or fall together, pins
what it cannot prove safe, and returns the atoms of the output. A layer without a rule is
opaque: everything that goes in or out of it is kept whole.

"Safe" means: taking away a channel that is zero everywhere changes no other channel.
"""

from edgepack.compress.structured.rules import elementwise, shapes, weights
from edgepack.compress.structured.rules.registry import apply_rule, kind_of

__all__ = ["apply_rule", "elementwise", "kind_of", "shapes", "weights"]
