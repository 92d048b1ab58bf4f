"""What treats each element alone, and what merges tensors element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepack.compress.structured.atoms import Ids
from edgepack.compress.structured.ledger import Channels, Ledger, Site
from edgepack.compress.structured.rules.registry import pass_activation, rule


@rule(
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
)
def same(site: Site, ledger: Ledger) -> Channels:
    """The input's channels, as they are."""
    return pass_activation(site, ledger, site.inputs[0])


@rule("Dropout")
def dropout(site: Site, ledger: Ledger) -> Channels:
    """A noise shape may count the channels; 1 or None there does not."""
    tensor, noise = site.inputs[0], site.op.noise_shape
    if noise is not None and tensor.axis is not None and noise[tensor.axis] not in (None, 1):
        ledger.pin(site, tensor.atoms, "its noise shape names the number of channels")
    return tensor


@rule("Rescaling")
def rescaling(site: Site, ledger: Ledger) -> Channels:
    """A scale or offset of its own for each channel would have to be cut as well."""
    if np.ndim(site.op.scale) > 0 or np.ndim(site.op.offset) > 0:
        ledger.pin(site, site.inputs[0].atoms, "it scales by an array")
    return site.inputs[0]


@rule("Softmax")
def softmax(site: Site, ledger: Ledger) -> Channels:
    """Sums over its axes: pinned where the channels are among them."""
    tensor = site.inputs[0]
    axes = site.op.axis if isinstance(site.op.axis, (list, tuple)) else [site.op.axis]
    if tensor.axis in [axis % len(tensor.shape) for axis in axes]:
        ledger.pin(site, tensor.atoms, "a softmax over the channels mixes them")
    return tensor


@rule(
    *(
        f"ops.{name}"
        for name in [
            "Absolute",
            "Cast",
            "Celu",
            "Clip",
            "Elu",
            "Exp",
            "Gelu",
            "HardSigmoid",
            "HardSilu",
            "HardSwish",
            "HardTanh",
            "LeakyRelu",
            "LogSigmoid",
            "Mish",
            "Negative",
            "Relu",
            "Relu6",
            "Selu",
            "Sigmoid",
            "Sign",
            "Silu",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Square",
            "Swish",
            "Tanh",
        ]
    )
)
def unary_operation(site: Site, ledger: Ledger) -> Channels:
    """One tensor in, the same channels out."""
    return site.inputs[0]


@rule("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
def merge_layer(site: Site, ledger: Ledger) -> Channels:
    """Merging layers give a tensor of lower rank new axes right after the batch axis."""
    return _merge(site, ledger)


@rule(
    "ops.Add",
    "ops.Divide",
    "ops.Maximum",
    "ops.Minimum",
    "ops.Multiply",
    "ops.Power",
    "ops.Subtract",
    "ops.TrueDivide",
)
def merge_operation(site: Site, ledger: Ledger) -> Channels:
    """Operations between tensors of one rank, or with plain numbers."""
    same_rank = len({len(tensor.shape) for tensor in site.inputs}) == 1
    if not same_rank or _holds_arrays(site.arguments):
        text = "it combines tensors of different rank, or a constant array"
        for tensor in site.inputs:
            ledger.pin(site, tensor.atoms, text)
        return ledger.whole(site, site.output, text)
    return _merge(site, ledger)


def _merge(site: Site, ledger: Ledger) -> Channels:
    """Couple the inputs position by position along the one axis on which channels lie."""
    rank = len(site.output)
    axes = {
        tensor.axis + rank - len(tensor.shape)
        for tensor in site.inputs
        if tensor.axis is not None and not ledger.atoms.pinned(tensor.atoms).all()
    }
    if not axes:
        return ledger.inherit(site.output, site.inputs)
    if len(axes) > 1:
        text = "its inputs have their channels on different axes"
        for tensor in site.inputs:
            ledger.pin(site, tensor.atoms, text)
        return ledger.whole(site, site.output, text)
    axis = axes.pop()
    size, joined = site.output[axis], None
    for tensor in site.inputs:
        atoms = _atoms_at(site, ledger, tensor, axis)
        if atoms is None:
            continue
        if atoms.size != size:
            ledger.pin(site, atoms, "one channel is used for all channels of another tensor")
        elif joined is None:
            joined = atoms
        else:
            ledger.atoms.join(joined, atoms)
    if joined is None:
        return ledger.whole(site, site.output, "its inputs have no fixed channels", axis=axis)
    return Channels(site.output, axis, joined)


def _atoms_at(site: Site, ledger: Ledger, tensor: Channels, axis: int) -> Ids | None:
    """The atoms of an input along `axis` of the output; None where it lacks that axis."""
    own = axis - (len(site.output) - len(tensor.shape))
    return ledger.along(site, tensor, own) if own >= 1 else None


def _holds_arrays(arguments: Any) -> bool:
    """Whether a call was given an array, not a symbolic tensor or a number."""
    symbols = {id(tensor) for tensor in arguments.keras_tensors}
    given = [*arguments.args, *arguments.kwargs.values()]
    return any(id(value) not in symbols and np.ndim(value) > 0 for value in given)
