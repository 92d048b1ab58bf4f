"""`Dataset`: arrays for training and evaluation, checked once when they are brought in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepack.errors import EdgepackError
from edgepack.model import Transform

Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]

# The input name of a dataset with one unnamed input; `fit` puts the model's name there.
UNNAMED = ""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Named inputs (first axis: samples) and labels, as stored.

    x_train, y_train: for calibration and fine-tuning; x_train may be empty.
    x_test, y_test: for quality; y_test is None where there are no labels.
    transforms: how stored values become model inputs (real = stored * scale + offset);
        an input that is not named is used as it is stored.
    task: "classification" (integer labels), "regression" (float targets) or "none".
    source: "dataset", or "random" for seeded random inputs.
    notes: what a user should know about how it was read, one sentence each.
    """

    x_test: Inputs
    x_train: Inputs = field(default_factory=dict)
    y_train: Array | None = None
    y_test: Array | None = None
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    task: str = "none"
    source: str = "dataset"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that can change a build or a measurement."""
        total = hashlib.sha256(f"{self.task}|{self.source}|{self.classes}".encode())
        for name, transform in sorted(self.transforms.items()):
            total.update(f"|{name}={transform.scale!r},{transform.offset!r}".encode())
        for split, inputs, labels in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
        ):
            for name in sorted(inputs):
                _hash_array(total, f"{split}:{name}", inputs[name])
            if labels is not None:
                _hash_array(total, f"{split}-labels", labels)
        return total.hexdigest()

    @property
    def train_samples(self) -> int:
        """How many training samples there are; 0 when there are none."""
        return len(next(iter(self.x_train.values()))) if self.x_train else 0

    @property
    def test_samples(self) -> int:
        """How many evaluation samples there are."""
        return len(next(iter(self.x_test.values())))

    def real(self, split: str, rows: npt.NDArray[np.intp] | slice) -> dict[str, Array]:
        """The model inputs of these rows of "train" or "test", transforms applied (float32)."""
        inputs = self.x_train if split == "train" else self.x_test
        return {name: self._apply(name, array[rows]) for name, array in inputs.items()}

    def _apply(self, name: str, stored: Array) -> Array:
        transform = self.transforms.get(name)
        if transform is None:
            return stored
        scale, offset = np.float32(transform.scale), np.float32(transform.offset)
        return stored.astype(np.float32) * scale + offset


def _hash_array(total: hashlib._Hash, label: str, array: Array) -> None:
    total.update(f"|{label}:{array.dtype.str}{array.shape}".encode())
    total.update(np.ascontiguousarray(array).data)


def assemble(
    x_train: Inputs,
    y_train: Array | None,
    x_test: Inputs,
    y_test: Array | None,
    *,
    where: str,
    transforms: Mapping[str, Transform] | None = None,
    classes: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A `Dataset` from raw arrays: sample counts, types and labels checked (EP302).

    float64 inputs become float32, one-hot labels become class numbers, and labels of
    integers or booleans make the task "classification", floats "regression".
    """
    train, test = _clean(x_train, where), _clean(x_test, where)
    if not test or not len(next(iter(test.values()))):
        raise _unreadable("it has no evaluation samples", where)
    if train and set(train) != set(test):
        raise _unreadable(f"inputs differ: train {sorted(train)}, test {sorted(test)}", where)
    labels_train = _labels(y_train, train, "train", where) if train else None
    labels_test = _labels(y_test, test, "test", where)
    return Dataset(
        x_train=train,
        y_train=labels_train,
        x_test=test,
        y_test=labels_test,
        transforms=dict(transforms or {}),
        task=task_of(labels_test),
        classes=classes,
        notes=notes,
    )


def _clean(inputs: Inputs, where: str) -> dict[str, Array]:
    """Numeric, finite arrays of equal length; float64 as float32."""
    clean: dict[str, Array] = {}
    for name, array in inputs.items():
        if array.dtype.kind not in "fiub" or array.ndim == 0:
            raise _unreadable(f"input '{name or 'x'}' is not a numeric array", where)
        narrow = array.astype(np.float32) if array.dtype == np.float64 else array
        if narrow.dtype.kind == "f" and not np.isfinite(narrow).all():
            raise _unreadable(f"input '{name or 'x'}' has NaN or infinite values", where)
        clean[name] = narrow
    if len({len(array) for array in clean.values()}) > 1:
        raise _unreadable("its inputs have different numbers of samples", where)
    return clean


def _labels(labels: Array | None, inputs: Inputs, split: str, where: str) -> Array | None:
    """Class numbers as int32 [n], or float32 targets, or None."""
    if labels is None:
        return None
    samples = len(next(iter(inputs.values())))
    if labels.ndim == 0 or labels.dtype.kind not in "fiub" or len(labels) != samples:
        raise _unreadable(f"y_{split} does not have one label for each of {samples} samples", where)
    if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind != "f":
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1 and _one_hot(labels):
        numbers: Array = np.argmax(labels, axis=1).astype(np.int32)
        return numbers
    if labels.dtype.kind != "f":
        return labels.astype(np.int32)
    if not np.isfinite(labels).all():
        raise _unreadable(f"y_{split} has NaN or infinite values", where)
    return labels.astype(np.float32)


def _one_hot(labels: Array) -> bool:
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def task_of(labels: Array | None) -> str:
    """The task that these labels are for: see `Dataset.task`."""
    if labels is None:
        return "none"
    return "classification" if labels.dtype.kind == "i" and labels.ndim == 1 else "regression"


def _unreadable(what: str, where: str) -> EdgepackError:
    return EdgepackError(
        "EP302",
        f"The dataset cannot be used: {what}",
        hint="An .npz needs x_test, and y_test, x_train, y_train where there are any.",
        where=where,
    )
