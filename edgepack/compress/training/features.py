"""Which inner tensors of a network and its teacher are brought together, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepack.errors import EdgepackError, did_you_mean


def pairs(student: Any, teacher: Any, names: Sequence[str]) -> list[tuple[str, Any, Any]]:
    """(layer, the student's tensor, the teacher's) for layers that both models have.

    Args:
        student, teacher: Keras or tf_keras models.
        names: layers; or just "auto": the last layer of each spatial size that both have,
            which in usual nets is the end of each stage.

    Raises:
        EdgepackError: EP105 for a layer that is not in both, or whose sizes differ by more
            than their channels.
    """
    ours, theirs = _tensors(student), _tensors(teacher)
    if list(names) == ["auto"]:
        return _last_of_each_size(ours, theirs)
    chosen = []
    for name in names:
        if name not in ours or name not in theirs:
            raise EdgepackError(
                "EP105",
                f"'features' names '{name}', which is not a layer of both networks",
                hint=did_you_mean(name, sorted(ours.keys() & theirs.keys())),
            )
        if not _alike(ours[name], theirs[name]):
            raise EdgepackError(
                "EP105",
                f"'{name}' gives {_shape(ours[name])} here and {_shape(theirs[name])} there",
                hint="Choose layers whose sizes differ in their channels alone.",
            )
        chosen.append((name, ours[name], theirs[name]))
    return chosen


def projection(keras: Any, ours: Any, theirs: Any) -> Any | None:
    """A trainable 1x1 map to the teacher's channels; None where there are as many already.

    A dense layer on the last axis is a 1x1 convolution, whatever the number of axes.
    """
    if ours.shape[-1] == theirs.shape[-1]:
        return None
    layer = keras.layers.Dense(int(theirs.shape[-1]), use_bias=False)
    layer.build(tuple(ours.shape))
    return layer


def _last_of_each_size(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    last: dict[tuple[Any, ...], str] = {}
    for name, tensor in ours.items():
        other = theirs.get(name)
        if len(tensor.shape) >= 3 and other is not None and _alike(tensor, other):
            last[_shape(tensor)[:-1]] = name
    return [(name, ours[name], theirs[name]) for name in last.values()]


def _tensors(model: Any) -> dict[str, Any]:
    """Outputs of the model's own layers that are called once and give one tensor.

    The model's inputs and outputs are left out: there is nothing to bring together.
    """
    ends = {id(tensor) for tensor in [*model.inputs, *model.outputs]}
    found = {}
    for layer in model.layers:
        try:
            tensor = layer.output
        except (AttributeError, ValueError):  # called more than once, or never
            continue
        if hasattr(tensor, "shape") and id(tensor) not in ends and not hasattr(layer, "layers"):
            found[layer.name] = tensor
    return found


def _alike(ours: Any, theirs: Any) -> bool:
    a, b = _shape(ours), _shape(theirs)
    return len(a) >= 2 and len(a) == len(b) and a[:-1] == b[:-1] and None not in (a[-1], b[-1])


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(tensor.shape)
