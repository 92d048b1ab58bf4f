"""The table of rules by kind of layer, and the one way to apply it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgepack.compress.structured.ledger import Channels, Ledger, Site

Rule = Callable[[Site, Ledger], Channels]

RULES: dict[str, Rule] = {}

# Activations that act on each element alone. What is not here (softmax, glu, a function of
# the user's) may mix channels, so it pins them.
ELEMENTWISE = frozenset(
    [
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "swish",
        "tanh",
        "tanh_shrink",
        "threshold",
    ]
)


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a rule for kinds such as "Conv2D" (a layer) or "ops.Add" (an operation)."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def kind_of(op: Any) -> str:
    """Which rule a layer or operation goes by; "" where its class is not Keras's own.

    A subclass is not its parent: it may do anything in its `call`.
    """
    import keras

    name = type(op).__name__
    if type(op) is getattr(keras.layers, name, None):
        return name
    if type(op).__module__.startswith("keras.src.ops."):
        return f"ops.{name}"
    return ""


def apply_rule(site: Site, ledger: Ledger) -> list[Channels]:
    """The output channels of a call, by the rule for its kind or as an opaque layer."""
    known = RULES.get(site.kind)
    if known is None or len(site.outputs) != 1:
        return opaque(site, ledger, f"{type(site.op).__name__} has no rule")
    altered = getattr(site.op, "lora_enabled", False) or getattr(site.op, "quantization_mode", None)
    if altered:
        return opaque(site, ledger, "its weights are quantized or adapted by Keras")
    return [known(site, ledger)]


def opaque(site: Site, ledger: Ledger, text: str) -> list[Channels]:
    """Keep everything that goes in and out of a call."""
    for tensor in site.inputs:
        ledger.pin(site, tensor.atoms, text)
    return [ledger.whole(site, shape, text) for shape in site.outputs]


def pass_activation(site: Site, ledger: Ledger, tensor: Channels) -> Channels:
    """The same channels after the layer's own activation, pinned where it may mix them."""
    import keras

    function = getattr(site.op, "activation", None)
    name = getattr(function, "__name__", type(function).__name__)
    alone = function is None or (
        name in ELEMENTWISE and function is getattr(keras.activations, name, None)
    )
    if not alone:
        ledger.pin(site, tensor.atoms, f"activation '{name}' may mix channels")
    return tensor


def channel_axis(site: Site) -> int:
    """The axis that a layer with a data format calls channels."""
    first = getattr(site.op, "data_format", None) == "channels_first"
    return 1 if first else len(site.inputs[0].shape) - 1
