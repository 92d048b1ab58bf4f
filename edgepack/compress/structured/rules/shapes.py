"""Layers without weights that move, join, repeat or reduce positions."""

from __future__ import annotations

import math

import numpy as np

from edgepack.compress.graph import Shape
from edgepack.compress.structured.atoms import Ids
from edgepack.compress.structured.ledger import Channels, Ledger, Site
from edgepack.compress.structured.rules.registry import channel_axis, rule


@rule(
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
)
def spatial(site: Site, ledger: Ledger) -> Channels:
    """Works on the axes between batch and channels, on each channel alone."""
    axis = channel_axis(site)
    atoms = ledger.along(site, site.inputs[0], axis)
    if atoms is None:
        return ledger.whole(site, site.output, "its input has no fixed channels", axis=axis)
    return Channels(site.output, axis, atoms)


@rule(*(f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)))
def global_pool(site: Site, ledger: Ledger) -> Channels:
    """Reduces every axis between batch and channels."""
    axis = channel_axis(site)
    atoms = ledger.along(site, site.inputs[0], axis)
    if atoms is None:
        return ledger.whole(site, site.output, "its input has no fixed channels")
    return Channels(site.output, axis if site.op.keepdims else 1, atoms)


@rule("Concatenate", "ops.Concatenate")
def concatenate(site: Site, ledger: Ledger) -> Channels:
    """Along the channels their arrays are joined; along another axis they are coupled."""
    rank = len(site.output)
    along = site.op.axis % rank
    tracked = {t.axis for t in site.inputs if t.axis is not None}
    axis = tracked.pop() if len(tracked) == 1 else along
    parts = [ledger.along(site, tensor, axis) for tensor in site.inputs]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        for part in known:
            ledger.pin(site, part, "it is joined to a tensor without fixed channels")
        return ledger.whole(site, site.output, "its inputs have no fixed channels", axis=axis)
    if axis == along:
        return Channels(site.output, axis, np.concatenate(known))
    for part in known[1:]:
        ledger.atoms.join(known[0], part)
    return Channels(site.output, axis, known[0])


@rule("Permute")
def permute(site: Site, ledger: Ledger) -> Channels:
    """The channels' axis moves; `dims` counts from 1."""
    tensor = site.inputs[0]
    if tensor.axis is None:
        return ledger.whole(site, site.output, "its input has no fixed channels")
    return Channels(site.output, 1 + list(site.op.dims).index(tensor.axis), tensor.atoms)


@rule("RepeatVector")
def repeat_vector(site: Site, ledger: Ledger) -> Channels:
    """(batch, channels) to (batch, n, channels)."""
    tensor = site.inputs[0]
    return Channels(site.output, None if tensor.axis is None else 2, tensor.atoms)


@rule("Flatten")
def flatten(site: Site, ledger: Ledger) -> Channels:
    """Every channel's atom, once for each position that it is spread over."""
    tensor = site.inputs[0]
    spread = _spread(tensor)
    if spread is None:
        text = "a flattened size is not fixed"
        ledger.pin(site, tensor.atoms, text)
        return ledger.whole(site, site.output, text)
    if site.op.data_format == "channels_first" and spread.ndim > 1:
        spread = np.moveaxis(spread, 0, -1)
    return Channels(site.output, 1, spread.ravel())


@rule("Reshape")
def reshape(site: Site, ledger: Ledger) -> Channels:
    """Four cases are proven: an axis that survives, flattening, and splitting a vector."""
    tensor, out = site.inputs[0], site.output
    survivor = _surviving_axis(tensor, out)
    if survivor is not None:
        _resize(site, ledger, survivor, tensor.atoms)
        return Channels(out, survivor, tensor.atoms)
    spread = _spread(tensor)
    if spread is None or None in out[1:] or (spread.ndim > 1 and len(out) > 2):
        text = f"channels cannot be followed through a reshape to {out}"
        ledger.pin(site, tensor.atoms, text)
        return ledger.whole(site, out, text)
    if len(out) == 2:
        _resize(site, ledger, 1, spread.ravel())
        return Channels(out, 1, spread.ravel())
    rows = spread.reshape(-1, _known(out[len(out) - 1]))
    for row in rows[1:]:
        ledger.atoms.join(rows[0], row)
    _resize(site, ledger, len(out) - 1, rows[0])
    return Channels(out, len(out) - 1, rows[0])


def _resize(site: Site, ledger: Ledger, axis: int, atoms: Ids) -> None:
    """Let the target shape follow the channels; -1 follows by itself."""
    if site.op.target_shape[axis - 1] != -1:
        ledger.size(site, "target_shape", atoms, index=axis - 1)


def _surviving_axis(tensor: Channels, out: Shape) -> int | None:
    """The axis of the target with the same size and the same elements before and after it."""
    if tensor.axis is None:
        return None
    before = _product(tensor.shape[1 : tensor.axis])
    after = _product(tensor.shape[tensor.axis + 1 :])
    for axis in range(1, len(out)):
        same_size = out[axis] == tensor.shape[tensor.axis]
        if same_size and before == _product(out[1:axis]) and after == _product(out[axis + 1 :]):
            return axis if before is not None and after is not None else None
    return None


def _spread(tensor: Channels) -> Ids | None:
    """The atom of each element of one sample; None where its shape is not fixed."""
    if tensor.axis is None or None in tensor.shape[1:]:
        return None
    sizes = [_known(size) for size in tensor.shape[1:]]
    lined_up = [1] * len(sizes)
    lined_up[tensor.axis - 1] = tensor.atoms.size
    return np.broadcast_to(tensor.atoms.reshape(lined_up), sizes)


def _product(sizes: Shape) -> int | None:
    return None if None in sizes else math.prod(_known(size) for size in sizes)


def _known(size: int | None) -> int:
    assert size is not None
    return size
