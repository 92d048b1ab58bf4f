"""What a search needs of a model to choose its widths: groups, scores, and kernels by shape.

A kernel is one convolution or matrix of the model with the sizes that decide its time: each
of its two channel axes is a sum of what stays of some groups and of what cannot be cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepack.compress.graph import Call, flatten, trace
from edgepack.compress.structured.anatomy import Anatomy, analyse
from edgepack.compress.structured.importance import normalise, score
from edgepack.compress.structured.rules.registry import kind_of
from edgepack.compress.structured.samples import Samples
from edgepack.compress.structured.selection import Limits


@dataclass(frozen=True)
class Axis:
    """A channel axis: `fixed` positions and, for each group, positions by unit that stays."""

    fixed: int
    groups: Mapping[str, float]

    def width(self, widths: Mapping[str, int]) -> int:
        """How many channels it has when the groups have these."""
        return round(self.fixed + sum(each * widths[name] for name, each in self.groups.items()))


@dataclass(frozen=True)
class Kernel:
    """One use of a layer's weights: kind is "conv", "depthwise" or "dense".

    size: kernel height and width; image: height and width of its input (1, 1 for dense);
    same: whether the padding keeps the image's size. A depthwise one only has `reads`.
    """

    layer: str
    kind: str
    size: tuple[int, int]
    strides: tuple[int, int]
    same: bool
    image: tuple[int, int]
    reads: Axis
    makes: Axis


@dataclass(frozen=True)
class Layout:
    """groups: name -> units, in the order of the model. kernels: in the order they run.

    uncounted: layers with matrices whose time no kernel stands for.
    """

    groups: Mapping[str, int]
    kernels: tuple[Kernel, ...]
    uncounted: tuple[str, ...]
    _anatomy: Anatomy

    def allowed(self, multiple: int, most: int = 8) -> dict[str, tuple[int, ...]]:
        """Counts that may stay, by group: multiples and the whole, at most so many, thinned."""
        limits = Limits(multiple=multiple)
        return {name: _thinned(limits.allowed(size), most) for name, size in self.groups.items()}

    def scores(
        self, kind: str, samples: Samples | None, seed: int
    ) -> dict[str, npt.NDArray[np.float64]]:
        """The units' importance by group, ascending, with a mean of 1 in each group."""
        found = score(self._anatomy, kind, samples=samples, seed=seed)
        ranked = normalise(found, self._anatomy.groups)
        return {group.name: np.sort(ranked[group.units]) for group in self._anatomy.groups}


def layout(model: Any) -> Layout:
    """The layout of a Keras 3 model. EP206 for one that is not a graph of layers."""
    anatomy = analyse(trace(flatten(model)))
    kernels, uncounted = list[Kernel](), dict[str, None]()
    for call in anatomy.graph.calls:
        found = list(_kernels(anatomy, call))
        kernels += found
        if not found and any(len(w.shape) > 1 for w in getattr(call.op, "weights", ())):
            uncounted[anatomy.graph.name(call.op)] = None
    return Layout(
        groups={group.name: int(group.units.size) for group in anatomy.groups},
        kernels=tuple(kernels),
        uncounted=tuple(uncounted),
        _anatomy=anatomy,
    )


def _kernels(anatomy: Anatomy, call: Call) -> Iterator[Kernel]:
    op, kind = call.op, kind_of(call.op)
    image = _image(anatomy, call)
    if image is None or getattr(op, "data_format", None) == "channels_first":
        return
    common: dict[str, Any] = {"layer": anatomy.graph.name(op), "image": image}
    if kind == "Dense":
        reads, makes = _axis(anatomy, op, op.kernel, 0), _axis(anatomy, op, op.kernel, 1)
        # A dense layer on an image or a sequence is a matrix product at each position.
        yield Kernel(
            kind="dense" if image == (1, 1) else "conv",
            size=(1, 1), strides=(1, 1), same=False, reads=reads, makes=makes, **common,
        )  # fmt: skip
        return
    if kind not in _WINDOWED or max(op.dilation_rate) > 1:
        return
    if kind in ("Conv1D", "Conv2D") and op.groups > 1:
        return
    common |= {
        "size": _pair(op.kernel_size),
        "strides": _pair(op.strides),
        "same": op.padding == "same",
    }
    if kind.startswith("Conv"):
        reads, makes = _axis(anatomy, op, op.kernel, -2), _axis(anatomy, op, op.kernel, -1)
        yield Kernel(kind="conv", reads=reads, makes=makes, **common)
        return
    if op.depth_multiplier > 1:
        return
    separable = kind.startswith("Separable")
    through = _axis(anatomy, op, op.depthwise_kernel if separable else op.kernel, -2)
    yield Kernel(kind="depthwise", reads=through, makes=through, **common)
    if separable:
        makes = _axis(anatomy, op, op.pointwise_kernel, -1)
        common |= {"size": (1, 1), "strides": (1, 1), "image": _strided(common)}
        yield Kernel(kind="conv", reads=through, makes=makes, **common)


_WINDOWED = frozenset(
    f"{kind}{rank}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for rank in (1, 2)
)


def _image(anatomy: Anatomy, call: Call) -> tuple[int, int] | None:
    """Height and width of what a call reads; None where they are not fixed, or are more."""
    if not call.inputs:
        return None
    shape = anatomy.graph.shapes[call.inputs[0]][1:-1]
    if len(shape) > 2 or any(size is None for size in shape):
        return None
    sizes = [size for size in shape if size is not None]
    return _pair(sizes) if sizes else (1, 1)


def _pair(sizes: Any) -> tuple[int, int]:
    """(height, width); what has one axis is one row."""
    values = [int(size) for size in sizes]
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _strided(common: Mapping[str, Any]) -> tuple[int, int]:
    """The image that a strided window leaves, with padding "same"."""
    (high, wide), (down, right) = common["image"], common["strides"]
    return -(-high // down), -(-wide // right)


def _axis(anatomy: Anatomy, op: Any, weight: Any, axis: int) -> Axis:
    index = next(i for i, each in enumerate(op.weights) if each is weight)
    axis %= len(weight.shape)
    for slot in anatomy.slots:
        if slot.op is op and slot.weight == index and slot.axis == axis:
            units = anatomy.unit_of[slot.atoms]
            found = {
                group.name: float(np.isin(units, group.units).sum()) / group.units.size
                for group in anatomy.groups
            }
            named = {name: each for name, each in found.items() if each}
            return Axis(int((units < 0).sum()), named)
    return Axis(int(weight.shape[axis]), {})


def _thinned(counts: list[int], most: int) -> tuple[int, ...]:
    if len(counts) <= most:
        return tuple(counts)
    chosen = np.unique(np.linspace(0, len(counts) - 1, most).round().astype(int))
    return tuple(counts[place] for place in chosen)
