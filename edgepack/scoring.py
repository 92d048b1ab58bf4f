"""The metrics of `--quality` on the outputs that devices sent back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from edgepack import package as packages
from edgepack import quality
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError
from edgepack.model import Event, JobSettings, Measurement, Package, Status
from edgepack.parity import real_values

UNJUDGED = "quality-failed"
"""Flag of a measurement whose metric could not be computed; a warning says why."""


def with_outputs(settings: JobSettings, package: Package) -> JobSettings:
    """The settings that bring every evaluation sample's outputs back. EP105 without data."""
    data = package.data
    if data is None:
        raise EdgepackError(
            "EP105", "--quality needs evaluation data", hint="Build the package with --data."
        )
    wanted = min(data.samples, settings.quality_samples or data.samples)
    return dataclasses.replace(settings, output_samples=wanted)


class Judge:
    """Judges measurements by metrics. Without any it leaves them as they are."""

    def __init__(
        self,
        specs: tuple[str, ...],
        package: Package,
        directory: Path,
        emit: Callable[[Event], None],
    ) -> None:
        self._specs = specs
        self._package = package
        self._directory = directory
        self._emit = emit

    def with_quality(
        self,
        measurements: Sequence[Measurement],
        outputs: Mapping[str, Mapping[str, Array]],
    ) -> list[Measurement]:
        """The measurements, each good one with its quality, or flagged where it has none."""
        if not self._specs:
            return list(measurements)
        return [self._judged(each, outputs.get(each.variant, {})) for each in measurements]

    def _judged(self, measured: Measurement, outputs: Mapping[str, Array]) -> Measurement:
        if measured.status is not Status.OK:
            return measured
        try:
            found = self._quality(measured.variant, outputs)
        except EdgepackError as error:
            said = f"{measured.device} {measured.variant}: no quality: {error}"
            self._emit(Event(kind="warning", stage="measure", message=said))
            flags = (*measured.flags, UNJUDGED)
            return dataclasses.replace(measured, quality=None, flags=flags)
        return dataclasses.replace(measured, quality=found)

    def _quality(self, variant: str, outputs: Mapping[str, Array]) -> quality.Quality:
        if not outputs:
            raise EdgepackError(
                "EP303", "the device sent no outputs", hint="Look at its log with -v."
            )
        real = real_values(self._package.variant(variant), outputs)
        rows = min(len(array) for array in real.values())
        real = {name: array[:rows] for name, array in real.items()}
        return quality.judge(self._specs, real, self._samples.take(slice(rows)))

    @cached_property
    def _samples(self) -> quality.EvaluationSet:
        stored = packages.evaluation(self._directory)
        inputs = {n.removeprefix("x:"): a for n, a in stored.items() if n.startswith("x:")}
        task = self._package.data.task if self._package.data else "none"
        return quality.EvaluationSet(inputs=inputs, labels=stored.get("y"), task=task)
