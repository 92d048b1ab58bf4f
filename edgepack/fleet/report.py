"""From one device's events to measurements, and what a device's session came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgepack.errors import EdgepackError
from edgepack.fleet import energy, profile
from edgepack.model import (
    Accelerator,
    Confusion,
    CpuUse,
    Failure,
    Job,
    Measurement,
    OpTime,
    Quality,
    RuntimeSpec,
    Status,
    SweepPoint,
    Transfer,
)
from edgepack.transport import events, results
from edgepack.transport.framing import refused

RECEIVED_BYTES = 32 * 1024 * 1024
"""Most bytes of latencies and outputs, unpacked, that one session may bring. Enough for four
million inferences; bounds what a hostile device can make the host hold."""

OUTPUT_BYTES = 512 * 1024 * 1024
"""The same for all outputs that a job asks back (`output_samples`)."""

_NEVER_REACHED = ("EP401", "EP402", "EP403")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What came of one job: a measurement of every variant, whatever happened.

    transfer: the session's cost; its `seconds` run from connecting until the device had stored
        and checked everything.
    failure: why the job as a whole failed, None when it ended as it should.
    outputs: by variant, then output name: the outputs of the first samples, stacked.
    interrupted: whether the job was cut short on the host's wish.
    """

    device: str
    measurements: tuple[Measurement, ...]
    transfer: Transfer
    failure: Failure | None = None
    outputs: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    interrupted: bool = False


def failure_of(error: EdgepackError) -> Failure:
    """The error as data."""
    what = f"{error.what} ({error.where})" if error.where else error.what
    return Failure(code=error.code, what=what, hint=error.hint)


class Collector:
    """Takes events in, refuses those that make no sense (EP501), gives measurements out."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._names = {variant.name for variant in job.variants}
        self._rounds: dict[str, dict[int, Array]] = {name: {} for name in self._names}
        self._results: dict[str, results.Result] = {}
        self._outputs: dict[str, dict[str, list[Array]]] = {}
        self._environment: Mapping[str, Any] = {}
        self._state: Mapping[str, Any] | None = None
        self._ops: dict[str, tuple[OpTime, ...]] = {}
        self._timeline: Mapping[str, Any] | None = None
        self._started: dict[str, dict[int, int]] = {name: {} for name in self._names}
        self._bytes = 0
        self._most = RECEIVED_BYTES + (OUTPUT_BYTES if job.settings.output_samples else 0)

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Array]]:
        """See `DeviceReport.outputs`."""
        return {
            variant: {name: np.concatenate(pieces) for name, pieces in outputs.items()}
            for variant, outputs in self._outputs.items()
        }

    def feed(self, event: events.AgentEvent) -> None:
        """Take one event in; EP501 for one that contradicts the job or those before it."""
        match event:
            case events.Samples():
                self._samples(event)
            case events.Outputs():
                self._output(event)
            case results.Result():
                self._result(event)
            case results.Ops():
                self._known(event.variant)
                self._ops[event.variant] = profile.op_times(event)
            case events.Environment():
                self._environment = event.environment
            case results.Timeline():
                self._timeline = _timeline(event)
            case events.State():
                self._state = event.state
            case _:
                pass

    def _samples(self, event: events.Samples) -> None:
        self._known(event.variant)
        rounds = self._rounds[event.variant]
        if event.round in rounds:
            raise refused(f"round {event.round} of '{event.variant}' twice")
        rounds[event.round] = event.latencies()
        self._started[event.variant][event.round] = event.start_ns
        self._count(rounds[event.round])

    def _output(self, event: events.Outputs) -> None:
        self._known(event.variant)
        pieces = self._outputs.setdefault(event.variant, {}).setdefault(event.output, [])
        if event.first != sum(map(len, pieces)):
            raise refused(f"output '{event.output}' of '{event.variant}' twice, or with a gap")
        values = event.array()
        if values.ndim == 0 or (pieces and pieces[0].shape[1:] != values.shape[1:]):
            raise refused(f"output '{event.output}' of '{event.variant}' in other shapes")
        pieces.append(values)
        self._count(values)

    def _result(self, event: results.Result) -> None:
        self._known(event.variant)
        measured = len(self._rounds[event.variant])
        if event.rounds != measured:
            raise refused(f"{measured} rounds of '{event.variant}' and a result of {event.rounds}")
        if not {*event.excluded} <= {*self._rounds[event.variant]}:
            raise refused(f"excluded rounds of '{event.variant}' that it never sent")
        if not {*event.launches} <= {*self._rounds[event.variant]}:
            raise refused(f"launches of '{event.variant}' with rounds that it never sent")
        if event.status == "ok" and not measured:
            raise refused(f"a good result of '{event.variant}' without a sample")
        self._results[event.variant] = event

    def _known(self, variant: str) -> None:
        if variant not in self._names:
            raise refused(f"something about '{variant}', which is not in the job")
        if variant in self._results:
            raise refused(f"something about '{variant}' after its result")

    def _count(self, values: Array) -> None:
        self._bytes += values.nbytes
        if self._bytes > self._most:
            raise refused(f"more than {self._most} bytes of values")

    def newest(self, variant: str) -> tuple[int, float | None]:
        """The variant's rounds so far, and the median of the newest one in µs (None: empty)."""
        rounds = self._rounds[variant]
        last = next(reversed(rounds.values()))
        return len(rounds), float(np.median(last)) / 1e3 if last.size else None

    def measured(self, variant: str) -> bool:
        """Whether the variant's result is there."""
        return variant in self._results

    def measurements(self, failure: Failure | None) -> tuple[Measurement, ...]:
        """One measurement a variant, in the job's order.

        A variant without a result has the status that `failure` implies. The rounds that
        came are kept, because they were measured; not from a device that broke the protocol
        (EP501).
        """
        return tuple(self._measurement(variant.name, failure) for variant in self._job.variants)

    def _measurement(self, variant: str, failure: Failure | None) -> Measurement:
        common: dict[str, Any] = {
            "variant": variant,
            "device": self._job.device.name,
            "profile": self._job.profile.name,
            "environment": self._surroundings(variant),
            "seed": self._job.settings.seed,
        }
        result = self._results.get(variant)
        if result is not None or failure is None or failure.code != "EP501":
            rounds = sorted(self._rounds[variant].items())
            common["rounds"] = tuple(tuple(values.tolist()) for _, values in rounds)
            started = sorted(self._started[variant].items())
            common["started_ns"] = tuple(at for _, at in started)
        if result is None:
            return Measurement(status=_status(failure), failure=failure or _CANCELLED, **common)
        return Measurement(
            status=Status(result.status),
            failure=Failure(**vars(result.error)) if result.error else None,
            runtime=RuntimeSpec(**vars(result.runtime)) if result.runtime else None,
            accelerator=Accelerator(**vars(result.accelerator))
            if result.accelerator
            else Accelerator(),
            threads=result.threads,
            load_ns=result.load_ns,
            first_ns=result.first_ns,
            process_ns=result.process_ns,
            setup_ns=result.setup_ns,
            timer_ns=result.timer_ns,
            peak_rss_bytes=result.peak_rss_bytes,
            ops=self._ops.get(variant, ()),
            cpu=CpuUse(**vars(result.cpu)) if result.cpu else None,
            quality=_quality(result.quality) if result.quality else None,
            flags=result.flags,
            inputs_sha256=result.inputs_sha256,
            excluded=self._positions(variant, result.excluded),
            launches=self._positions(variant, result.launches) or (0,),
            mode=result.mode,
            batch=result.batch,
            warmup=result.warmup,
            sweep=tuple(
                SweepPoint(threads=s.threads, medians_ns=s.medians_ns) for s in result.sweep
            ),
            **common,
        )

    def _positions(self, variant: str, numbers: Collection[int]) -> tuple[int, ...]:
        """Where the rounds of those numbers are among the variant's rounds."""
        present = sorted(self._rounds[variant])
        return tuple(i for i, number in enumerate(present) if number in numbers)

    def _surroundings(self, variant: str) -> Mapping[str, Any]:
        # A time line is only ever what the checked event said, and the energy is made of it.
        own = ("timeline", "energy")
        found = {key: value for key, value in self._environment.items() if key not in own}
        if self._timeline is not None:
            found["timeline"] = self._timeline
            used = energy.per_inference(self._timeline, list(self._rounds[variant].values()))
            if used is not None:
                found["energy"] = used
        if self._state is not None:
            found["after"] = self._state
        return found


def _quality(told: results.MeasuredQuality) -> Quality:
    """The quality as the device tells it; EP501 for a confusion of classes that it has not."""
    found = told.confusion
    if found and any(max(cell[:2]) >= found.classes for cell in found.cells):
        raise refused(f"a confusion of classes beyond its {found.classes}")
    return Quality(**{**vars(told), "confusion": Confusion(**vars(found)) if found else None})


def _timeline(event: results.Timeline) -> Mapping[str, Any]:
    """The time line as JSON types, rows that fit no column left out."""
    found = dataclasses.asdict(event)
    del found["event"]
    found["rows"] = [list(row) for row in event.rows if len(row) == len(event.columns)]
    found["columns"] = list(event.columns)
    found["disturbances"] = [
        {**one, "rounds": list(one["rounds"])} for one in found["disturbances"]
    ]
    return found


_CANCELLED = Failure(
    code="EP502",
    what="The job ended before this variant was measured.",
    hint="Run it again.",
)


def _status(failure: Failure | None) -> Status:
    if failure is None:
        return Status.FAILED
    if failure.code in _NEVER_REACHED:
        return Status.UNREACHABLE
    return Status.TIMEOUT if failure.code == "EP408" else Status.FAILED
