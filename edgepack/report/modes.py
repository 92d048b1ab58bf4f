"""What a mode of measuring tells beside the table: as JSON, and as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgepack.analysis import modes
from edgepack.model import Measurement, Run, Status
from edgepack.report import text
from edgepack.report.disturbed import disturbances, stolen


def fields(measurement: Measurement) -> dict[str, Any]:
    """The fields of `edgepack.run/1` that depend on the mode."""
    stopping = None
    if measurement.mode == "single-stream" and measurement.status is Status.OK:
        stopping = {
            f"{name}_us": None if found is None else found.value
            for name, found in modes.early_stopping(measurement).items()
        }
        stopping["queries"] = sum(map(len, measurement.rounds))
    rate = modes.throughput(measurement)
    return {
        "mode": measurement.mode,
        "batch": measurement.batch,
        "rounds": {
            "n": len(measurement.rounds),
            "excluded": list(measurement.excluded),
            "launches": list(measurement.launches),
        },
        "warmup": None if measurement.warmup is None else dict(measurement.warmup),
        "early_stopping": stopping,
        "throughput": None if rate is None else {"per_s": rate.per_s, "ci95": list(rate.ci95)},
        "minutes": [
            {"minute": m.number, "n": m.latency.n, "p50": m.latency.p50, "p90": m.latency.p90}
            for m in modes.minutes(measurement)
        ],
        "sweep": [
            {"threads": s.threads, "p50": s.p50, "p50_ci95": list(s.ci95)}
            for s in modes.swept(measurement)
        ],
    }


def sustained(run: Run) -> dict[str, Any]:
    """By device measured under sustained load: the pairs of variants that change their order."""
    devices: dict[str, list[Measurement]] = {}
    for measurement in run.measurements:
        if measurement.mode == "sustained":
            devices.setdefault(measurement.device, []).append(measurement)
    return {
        device: {
            "flips": [
                {"faster": f.faster, "slower": f.slower, "minute": f.minute, "flipped": f.flipped}
                for f in modes.flips(own)
            ]
        }
        for device, own in devices.items()
    }


def notes(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Sentences about one device's measurements: tails, throughput, minutes, threads, and what
    disturbed them. Plain text."""
    said = [text.plain(line) for one in measurements for line in _notes(one)]
    kept = [m for m in measurements if m.mode == "sustained" and m.status is Status.OK]
    if len(kept) > 1:
        found = modes.flips(kept)
        said += [
            text.plain(
                f"{f.faster} is faster than {f.slower} in minute {f.minute} and slower in "
                f"minute {f.flipped}"
            )
            for f in found
        ]
        # One minute cannot show a change, of the ranking neither.
        if not found and all(len(modes.minutes(one)) > 1 for one in kept):
            said.append("the ranking of the variants does not change under load")
    return (*said, *_disturbed(measurements))


def _notes(measurement: Measurement) -> Iterator[str]:
    name = measurement.variant
    if measurement.status is not Status.OK:
        return
    if measurement.mode == "single-stream":
        yield f"{name}: {_tails(measurement)}"
    rate = modes.throughput(measurement)
    if rate is not None:
        width = text.half_width(rate.ci95, rate.per_s)
        yield f"{name}: {rate.per_s:,.0f} samples/s {width}{text.batches(measurement.batch)}"
    every = modes.minutes(measurement)
    if every:
        yield f"{name}: {_change(every)}"
    points = modes.swept(measurement)
    if points:
        each = (f"{s.threads} thread{'s' * (s.threads > 1)} {_time(s)}" for s in points)
        yield f"{name}: {', '.join(each)}"


def _change(every: Sequence[modes.Minute]) -> str:
    first, last = every[0].latency.p50, every[-1].latency.p50
    if len(every) == 1:
        return (
            f"p50 {text.microseconds(first)} in minute {every[0].number}; one minute cannot show a "
            "change over time"
        )
    return (
        f"p50 {text.microseconds(first)} in minute {every[0].number}, {text.microseconds(last)} in "
        f"minute {every[-1].number} ({last / first - 1:+z.1%})"
    )


def _tails(measurement: Measurement) -> str:
    found = modes.early_stopping(measurement)
    bounds = [f"{name} ≤ {text.microseconds(one.value)}" for name, one in found.items() if one]
    unknown = " and ".join(name for name, one in found.items() if not one)
    count = sum(map(len, measurement.rounds))
    queries, are = (f"{count:,} queries", "are") if count != 1 else ("1 query", "is")
    said = []
    if bounds:
        said.append(f"{', '.join(bounds)} with 99% confidence ({queries}, LoadGen's rule)")
    if unknown:
        rule = "" if bounds else " (LoadGen's rule)"
        said.append(f"{unknown} not determined: {queries} {are} too few for 99% confidence{rule}")
    return "; ".join(said)


def _time(point: modes.Swept) -> str:
    return f"{text.microseconds(point.p50)} {text.half_width(point.ci95, point.p50)}"


def _disturbed(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Sentences for the device: all its variants share the rounds."""
    measured = [m for m in measurements if m.status is Status.OK and m.rounds]
    if not measured:
        return
    # The flag is of the whole job, the share of its rounds, during which nothing may be taken.
    share = f"{stolen(measured[0].environment) or 0.0:.0%}"
    if "steal" in measured[0].flags and share != "0%":
        yield text.plain(
            f"the hypervisor took {share} of the processor time: other machines on this host "
            "are part of these times"
        )
    launches = max(len(m.launches) for m in measured)
    if launches > 1:
        yield text.plain(
            f"each variant in {launches} processes, one after the other: intervals are over those"
        )
    found = disturbances(measured[0].environment)
    if not found:
        return
    told = ", ".join(f"{one.kind} {one.start:.1f}–{one.end:.1f} s" for one in found[:4])
    more = f" and {len(found) - 4} more" * (len(found) > 4)
    out, of = len(measured[0].excluded), len(measured[0].rounds)
    yield text.plain(f"disturbed: {told}{more}; {out} of {of} rounds are left out")
