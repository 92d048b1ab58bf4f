"""Bringing a dataset and a model's signature together, and inputs where there is no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from edgepack.data.dataset import UNNAMED, Array, Dataset
from edgepack.errors import EdgepackError
from edgepack.model import Signature, TensorSpec

_RANDOM_BYTES = 4 << 30  # all samples as float32: more is no real model's input
_RANDOM_SENT = 16 << 20
"""What all random samples take at most, unless the fewest do: every device is sent them, and
noise does not compress. 151 images of 96x96 and 27 of 224x224 fit, in colour."""
_RANDOM_FEWEST, _RANDOM_MOST = 8, 256


def fit(dataset: Dataset, signature: Signature, *, labels: bool = True) -> Dataset:
    """The dataset with the model's input names, its shapes and labels checked.

    labels: False where they are not those of this model (a new head will learn them).

    A dataset with one unnamed or differently named input is renamed to the model's only
    input; several inputs must have the model's names. EP303 says what does not fit.
    """
    names = [spec.name for spec in signature.inputs]
    rename = _renaming(list(dataset.x_test), names)
    x_test = {rename[old]: array for old, array in dataset.x_test.items()}
    x_train = {rename[old]: array for old, array in dataset.x_train.items()}
    transforms = {rename[old]: transform for old, transform in dataset.transforms.items()}
    for spec in signature.inputs:
        for inputs in (x_test, x_train):
            if inputs:
                _check_input(spec, inputs[spec.name], transformed=spec.name in transforms)
    fitted = replace(
        dataset,
        x_test={name: x_test[name] for name in names},
        x_train={name: x_train[name] for name in names} if x_train else {},
        transforms=transforms,
    )
    if labels:
        _check_labels(fitted, signature)
    return fitted


def _renaming(have: list[str], want: list[str]) -> Mapping[str, str]:
    if len(have) == 1 and len(want) == 1:
        return {have[0]: want[0]}
    if set(have) == set(want):
        return {name: name for name in want}
    shown = [name if name != UNNAMED else "(unnamed)" for name in have]
    raise EdgepackError(
        "EP303",
        f"The model's inputs are {', '.join(want)}; the dataset has {', '.join(shown)}",
        hint=f"Name each array by its input, for example 'x_test:{want[0]}'.",
    )


def _check_input(spec: TensorSpec, array: Array, *, transformed: bool) -> None:
    want, have = spec.shape[1:], array.shape[1:]
    fits = len(want) == len(have) and all(
        w is None or w == h for w, h in zip(want, have, strict=True)
    )
    if not fits:
        shown = "x".join("?" if size is None else str(size) for size in want) or "scalar"
        given = "x".join(str(size) for size in have) or "scalar"
        raise EdgepackError(
            "EP303",
            f"Input '{spec.name}' takes {shown}; the dataset's samples are {given}",
            hint="Reshape or resize the dataset's arrays to the model's input.",
        )
    integer = np.dtype(spec.dtype).kind in "iu" and spec.scale is None
    if integer and (array.dtype.kind == "f" or transformed):
        raise EdgepackError(
            "EP303",
            f"Input '{spec.name}' takes {spec.dtype}; the dataset has {array.dtype} values",
            hint="Save integer inputs as integers, without scale and offset.",
        )


def _check_labels(dataset: Dataset, signature: Signature) -> None:
    """Class numbers must be among a single output's classes."""
    if dataset.task != "classification" or len(signature.outputs) != 1:
        return
    classes = signature.outputs[0].shape[-1] if signature.outputs[0].shape else None
    if classes is None or classes < 2:
        return
    for labels in (dataset.y_test, dataset.y_train):
        if labels is None:
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise EdgepackError(
                "EP303",
                f"Labels go from {low} to {high}; the model has {classes} classes",
                hint="Number the classes from 0 in the order of the model's output.",
            )


def random_inputs(signature: Signature, seed: int = 0, samples: int | None = None) -> Dataset:
    """Seeded inputs for a model without data: uniform in [0, 1), or 0 and 1 for integers.

    samples: how many; None: up to 256 that 16 MiB hold, and at least 8.

    0 and 1 are valid for every embedding of two or more rows. EP303 when an axis other than
    the first is free, because its size cannot be guessed, and for inputs that no real model has.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    samples = _how_many(signature) if samples is None else samples
    for spec in signature.inputs:
        shape = spec.shape[1:]
        if any(size is None for size in shape):
            raise EdgepackError(
                "EP303",
                f"Input '{spec.name}' has axes of free size, so random inputs cannot be made",
                hint="Give a dataset with --data.",
            )
        full = (samples, *(int(size) for size in shape if size is not None))
        _check_drawable(spec, full)
        if np.dtype(spec.dtype).kind in "iub" and spec.scale is None:
            inputs[spec.name] = rng.integers(0, 2, full).astype(spec.dtype)
        else:
            inputs[spec.name] = rng.random(full, np.float32)
    return Dataset(x_test=inputs, source="random")


def _how_many(signature: Signature) -> int:
    """Random samples of all inputs together, as float32, that `_RANDOM_SENT` holds."""
    sizes = [prod(size or 1 for size in spec.shape[1:]) for spec in signature.inputs]
    fit = _RANDOM_SENT // max(1, 4 * sum(sizes))
    return max(_RANDOM_FEWEST, min(_RANDOM_MOST, fit))


def _check_drawable(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """EP303 for a type that NumPy does not know, and for sizes that would exhaust the memory."""
    try:
        known = np.dtype(spec.dtype).kind in "iufb"
    except TypeError:
        known = False
    if not known or min(shape) < 0 or 4 * prod(shape) > _RANDOM_BYTES:
        shown = "x".join(map(str, shape[1:]))
        raise EdgepackError(
            "EP303",
            f"Random inputs cannot be made for '{spec.name}', {shown} of type {spec.dtype}",
            hint="Give a dataset with --data, if the model is what it should be.",
        )
