"""What measurements say of candidates: times by the source in the same job, and the limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from edgepack.analysis import stats
from edgepack.analysis.quality import better_is_lower
from edgepack.errors import EdgepackError
from edgepack.model import Failure, Measurement, Quality
from edgepack.searching import limits
from edgepack.searching.foundry import Foundry
from edgepack.searching.gauge import SOURCE, Setting
from edgepack.searching.values import Candidate, Choice, Request, Tried

Measured = Mapping[str, Mapping[str, Measurement]]
"""By device, then by name."""


class Readings:
    """Reads measurements of one search.

    A board is faster at one time than at another. So a time is what the source took in the
    first job with a setting, by how much faster the candidate was in its own job.
    """

    def __init__(self, request: Request, foundry: Foundry) -> None:
        self._request = request
        self._foundry = foundry
        self._references: dict[tuple[str, Setting], tuple[float, Measurement]] = {}

    def reference(self, device: str, setting: Setting, source: Measurement) -> float:
        """The source's p50 in µs, of the first job with this setting. Its error without times."""
        known = self._references.get((device, setting))
        if known is None:
            latency = stats.latency(source)
            if latency is None:
                raise _error(source, "the source", device)
            known = self._references[device, setting] = (latency.p50, source)
        return known[0]

    def microseconds(
        self, device: str, setting: Setting, name: str, results: Mapping[str, Measurement]
    ) -> float:
        """A file's time. The device's own error where it was not measured."""
        for one, told in ((SOURCE, "the source"), (name, f"kernel {name}")):
            if _failure(results[one]) is not None:
                raise _error(results[one], told, device)
        ratio = stats.speedup(results[SOURCE], results[name])[0]
        return self.reference(device, setting, results[SOURCE]) / ratio

    def setting(self, device: str) -> Setting:
        """How a device was first measured."""
        return next(setting for name, setting in self._references if name == device)

    def runtime(self, device: str) -> str:
        """What a device's tables belong to besides it: runtime, version and threads."""
        setting = self.setting(device)
        measured = self._references[device, setting][1]
        runtime, threads = measured.runtime, setting.threads or measured.threads
        named = f"{runtime.name}-{runtime.version}" if runtime else "unknown"
        return f"{named}-{threads}t"

    def tried(
        self, candidate: Candidate, place: tuple[str, int], setting: Setting, measured: Measured
    ) -> Tried:
        """The finished trial; a failed one where a device could not run the candidate."""
        latency, speedup, over = dict[str, float](), dict[str, float](), dict[str, float]()
        judged = list[tuple[float, float]]()
        for target in self._request.targets:
            device = target.device.name
            results = measured.get(device)
            if results is None:
                continue
            mine, source = results[candidate.recipe.name], results[SOURCE]
            failure = _failure(source) or _failure(mine)
            if failure is not None:
                return failed(candidate.number, place, candidate.choice, failure.what)
            speedup[device] = stats.speedup(source, mine)[0]
            latency[device] = self.reference(device, setting, source) / speedup[device]
            bounds = list(limits.of_device(self._request.budgets, target.device))
            over |= self._over(bounds, candidate, mine, source)
            judged.append(_judged(candidate, mine, source))
        return Tried(
            number=candidate.number,
            stage=place[0],
            bracket=place[1],
            choice=candidate.choice,
            recipe=candidate.recipe,
            sha256=candidate.sha256,
            bytes=len(candidate.content),
            quality=fmean(quality for quality, _ in judged),
            loss=fmean(loss for _, loss in judged),
            latency_us=latency,
            speedup=speedup,
            over=over,
        )

    def _over(
        self,
        bounds: list[tuple[str, str, float]],
        candidate: Candidate,
        mine: Measurement,
        source: Measurement,
    ) -> dict[str, float]:
        """See `limits.over`; quality is what the host found on the validation samples, or the
        device on its own."""
        foundry, choice = self._foundry, candidate.choice
        size, whole = len(candidate.content), len(foundry.source_file)
        here = self._quality(candidate.quality), self._quality(foundry.reference)
        quality, reference = _on_device(mine, source) or here
        own = limits.entry(mine, candidate.sha256, size, quality)
        base = limits.entry(source, "", whole, reference)
        return limits.over(bounds, own, base, judged=choice.judged)

    def _quality(self, value: float) -> Quality:
        finite = value if math.isfinite(value) else 0.0
        samples = self._foundry.validation_samples
        return Quality(metric=self._foundry.metric, value=finite, n=samples)


def _failure(measured: Measurement) -> Failure | None:
    """Why there are no times, None when there are."""
    if measured.failure is None and stats.latency(measured) is None:
        return Failure(
            code="EP502",
            what="no round is left that was not disturbed",
            hint="Measure when the device has nothing else to do.",
        )
    return measured.failure


def _error(measured: Measurement, what: str, device: str) -> EdgepackError:
    failure = _failure(measured)
    assert failure is not None
    return EdgepackError(
        failure.code,
        f"{what} was not measured: {failure.what}",
        where=device,
        hint="Search without cuts (--no-cut), or run 'edgepack device doctor'.",
    )


def _on_device(mine: Measurement, source: Measurement) -> tuple[Quality, Quality] | None:
    """The quality of a file and of the source by the device's own data, where it judged both."""
    if mine.quality is None or source.quality is None:
        return None
    return mine.quality, source.quality


def _judged(candidate: Candidate, mine: Measurement, source: Measurement) -> tuple[float, float]:
    """(quality, quality lost against the source) on one device."""
    found = _on_device(mine, source)
    if found is None:
        return candidate.quality, candidate.loss
    lost = found[1].value - found[0].value
    return found[0].value, -lost if better_is_lower(found[0].metric) else lost


def failed(number: int, place: tuple[str, int], choice: Choice, why: str) -> Tried:
    """A trial that could not be made or measured."""
    return Tried(number=number, stage=place[0], bracket=place[1], choice=choice, error=why)
