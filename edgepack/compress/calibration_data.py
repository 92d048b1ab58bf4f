"""The samples that a quantizing pass takes from its dataset: for ranges, and to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgepack.compress.calibration import (
    PERCENTILE,
    Method,
    Ranges,
    choose_rows,
    measure_ranges,
)
from edgepack.compress.facts import Fact
from edgepack.compress.network import Network
from edgepack.compress.on_devices import unsuited
from edgepack.compress.passes.base import Context
from edgepack.data.dataset import Array
from edgepack.model import CalibrationSource

_RANDOM = "Calibrated on random inputs: give a dataset for a quality that can be trusted."
_RANDOM_ON_DEVICES = (
    "Calibrated on random inputs, as the data are on the devices: with --calibrate-on-device the "
    "ranges come from there."
)


@dataclass(frozen=True, kw_only=True)
class SampleParams:
    """samples: how many training samples set the activations' ranges. by: "seed" draws them
    at random, "class" takes as many of each class.

    200 is the middle of the 100 to 500 that the converter's guide asks for.
    """

    samples: Annotated[int, Field(ge=1, le=100_000)] = 200
    by: Literal["seed", "class"] = "seed"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Calibration inputs by name (real values, first axis samples) and what to say of them;
    held_out: row numbers of `split` that were not used, in a seeded order."""

    inputs: dict[str, Array]
    notes: tuple[str, ...]
    split: Literal["train", "test"]
    held_out: npt.NDArray[np.intp]


def draw(network: Network, context: Context, params: SampleParams) -> Split:
    """Training samples for calibration, or evaluation samples where there are no others.

    EP105 for by="class" without class labels.
    """
    data = context.dataset
    split: Literal["train", "test"] = "train" if data.x_train else "test"
    total = data.train_samples if data.x_train else data.test_samples
    labels = data.y_train if data.x_train else data.y_test
    notes: tuple[str, ...] = ()
    if data.source == "random":
        notes = (_RANDOM_ON_DEVICES if context.data_on_devices else _RANDOM,)
    elif split == "test":
        notes = ("The dataset has no training samples: calibrated on test samples.",)
    rows = choose_rows(total, params.samples, seed=context.seed, by=params.by, labels=labels)
    others = np.setdiff1d(np.arange(total), rows)
    return Split(
        inputs=typed(network, context, split, rows),
        notes=notes,
        split=split,
        held_out=np.random.default_rng(context.seed).permutation(others),
    )


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Ranges, what to say of them, and the devices that they came from, if any."""

    ranges: Ranges
    notes: tuple[str, ...]
    sources: tuple[CalibrationSource, ...] = ()


def calibrated(
    content: bytes,
    network: Network,
    context: Context,
    params: SampleParams,
    method: Method = "minmax",
    *,
    percentile: float = PERCENTILE,
    bits: int = 8,
) -> Calibrated:
    """The ranges of a float file, by the context's devices or else by its dataset.

    method, percentile, bits: see `measure_ranges`. EP105 for what only the host's data can give.
    """
    if context.calibrator is None:
        data = draw(network, context, params)
        ranges = measure_ranges(content, data.inputs, method, percentile=percentile, bits=bits)
        return Calibrated(ranges=ranges, notes=data.notes)
    if method != "minmax":
        raise unsuited(f"calibration = '{method}'", "devices tell ranges, not distributions")
    if params.by != "seed":
        raise unsuited(f"by = '{params.by}'", "devices draw their samples by the seed")
    found = context.calibrator.ranges(content, samples=params.samples, seed=context.seed)
    return Calibrated(
        ranges=found.ranges, notes=(Fact(found.said), *found.notes), sources=found.sources
    )


def typed(
    network: Network, context: Context, split: str, rows: npt.NDArray[np.intp]
) -> dict[str, Array]:
    """The model inputs of these rows, in the types that the network's inputs have."""
    types = {spec.name: np.dtype(spec.dtype) for spec in network.inputs}
    real = context.dataset.real(split, rows)
    return {name: array.astype(types[name], copy=False) for name, array in real.items()}


def one_by_one(inputs: dict[str, Array]) -> Callable[[], Iterator[dict[str, Array]]]:
    """What the converter calls a representative dataset: batches of one, by input name."""

    def items() -> Iterator[dict[str, Array]]:
        for row in range(len(next(iter(inputs.values())))):
            yield {name: array[row : row + 1] for name, array in inputs.items()}

    return items
