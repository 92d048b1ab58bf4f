"""Variants against a baseline on each device: rows, Pareto fronts and what to ship.

A variant is not recommended when it was not measured to the end, was measured on an emulator
or in other circumstances than the baseline, yields what is not a number, lost quality (by more
than one point, unless a test says it may be chance), or is slower (significantly and by more
than 1%) or bigger (by more than 1%) than what it derives from: the baseline, and every fit
variant whose passes are a part of its own. Of the rest the fastest wins; those that are not
significantly slower than it, or by less than 1%, are as fast, and the smallest of them wins.
Where a single round counts, nothing is known of the spread: none of several is recommended.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.analysis import like, quality, stats, words
from edgepack.analysis.bench import NOT_FINITE, OUTPUTS_DIFFER, Bench, Entry, benches, pareto
from edgepack.analysis.oneforall import Fit, one_for_all
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Comparison, Package, Row, Run, Status

#: Differences of speed and size below 1% are no reason to prefer a variant.
MARGIN = 0.01


def compare(run: Run, baseline: str = "float") -> Comparison:
    """Compare a run's variants with `baseline` on every device.

    A package without a "float" variant (a `.tflite` taken as it is) is compared with its
    first; `Comparison.baseline` names the one that was used.

    Raises:
        EdgepackError: EP105, the package has no variant named `baseline`.
    """
    baseline = _baseline(run.package, baseline)
    rows: list[Row] = []
    recommended: dict[str, str] = {}
    reasons: dict[str, str] = {}
    fronts: dict[str, tuple[str, ...]] = {}
    fits: list[Fit] = []
    for bench in benches(run):
        refusals = {entry.name: _refusal(bench, entry, baseline) for entry in bench.entries}
        fit = [entry for entry in bench.entries if not refusals[entry.name]]
        winner = _winner(bench, fit)
        if winner:
            recommended[bench.device] = winner.name
        fits.append(Fit(bench=bench, refusals=refusals, winner=winner))
        reasons[bench.device] = _recommendation(bench, fit, winner, baseline)
        fronts[bench.device] = pareto(bench.entries)
        for entry in bench.entries:
            reason = refusals[entry.name] or _lost(bench, entry, winner)
            rows.append(_row(bench, entry, baseline, reason))
    return Comparison(
        baseline=baseline,
        rows=tuple(rows),
        pareto=fronts,
        recommended=recommended,
        reasons=reasons,
        fleet=one_for_all(fits),
    )


def _baseline(package: Package, asked: str) -> str:
    names = [variant.name for variant in package.variants]
    if asked in names or not names:
        return asked
    if asked == "float":
        return names[0]
    raise EdgepackError(
        "EP105",
        f"the run has no variant named '{asked}'",
        where="--baseline",
        hint=did_you_mean(asked, names),
    )


def _row(bench: Bench, entry: Entry, baseline: str, reason: str) -> Row:
    base = bench.get(baseline)
    found = bench.speedup(base, entry) if base else None
    paired = found is not None and stats.has_interval(found[1])
    alike = base is not None and not like.within_a_run(base.measurement, entry.measurement)
    change = quality.change(base.measurement, entry.measurement) if base and alike else None
    note = words.beside(base.measurement, entry.measurement) if base and found else ""
    return Row(
        variant=entry.name,
        device=bench.device,
        speedup=found[0] if found else None,
        speedup_ci95=found[1] if found and paired else None,
        size_ratio=_size_ratio(base, entry),
        quality_delta=change.delta if change and entry.quality else None,
        significant=stats.significant(found[1]) if found and paired else None,
        reason="; ".join(part for part in (reason, note) if part),
    )


def _size_ratio(base: Entry | None, entry: Entry) -> float | None:
    if base is None or not base.bytes or entry.bytes is None:
        return None
    return entry.bytes / base.bytes


def _refusal(bench: Bench, entry: Entry, baseline: str) -> str:
    """Why a variant cannot be recommended; "" when it can."""
    measurement = entry.measurement
    if measurement.status is not Status.OK:
        failure = measurement.failure
        return f"{measurement.status}: {failure.what}" if failure else str(measurement.status)
    if entry.latency is None:
        return "no latency was measured"
    if entry.emulated:
        return "measured on an emulator, whose times say nothing about a board"
    if OUTPUTS_DIFFER in measurement.flags:
        return "its outputs on the device are not those of the same file on the host"
    if NOT_FINITE in measurement.flags:
        return "some of its outputs are not numbers"
    base = bench.get(baseline)
    unlike = like.within_a_run(base.measurement, measurement) if base and base.latency else ()
    if unlike:
        return f"not compared with {baseline}: {like.said(unlike)}"
    if base and base is not entry and base.quality and entry.quality:
        change = quality.change(base.measurement, measurement)
        if change and change.harmful:
            return f"lower quality: {words.quality(change, baseline)}"
    for parent in _parents(bench, entry, baseline):
        found = bench.speedup(parent, entry)
        if found and stats.significant(found[1]) and found[0] < 1 - MARGIN:
            return words.speed(found, parent.name) + words.slow_because(measurement)
        ratio = _size_ratio(parent, entry)
        if ratio and ratio > 1 + MARGIN:
            return f"bigger: {words.size(ratio, parent.name)}"
    return ""


def _parents(bench: Bench, entry: Entry, baseline: str) -> Iterator[Entry]:
    """The baseline, and the fit variants whose passes are a proper part of this one's."""
    if entry.name == baseline or entry.variant is None:
        return
    passes = entry.variant.recipe.passes
    for other in bench.entries:
        if other is entry or other.variant is None or other.latency is None:
            continue
        theirs = other.variant.recipe.passes
        rest = iter(passes)
        part = 0 < len(theirs) < len(passes) and all(step in rest for step in theirs)
        # A parent that is unfit itself is no alternative, so nothing need be better than it.
        # The recursion ends: the parents of a parent have fewer passes still.
        if other.name == baseline or (part and not _refusal(bench, other, baseline)):
            yield other


def _winner(bench: Bench, fit: list[Entry]) -> Entry | None:
    if not fit:
        return None
    fastest = min(fit, key=_p50)
    if not _told_apart(bench, fastest, fit):
        return None
    alike = [entry for entry in fit if entry is fastest or _as_fast(bench, fastest, entry)]
    return min(alike, key=lambda entry: (_bytes(entry), _badness(entry), _p50(entry)))


def _told_apart(bench: Bench, fastest: Entry, fit: list[Entry]) -> bool:
    """Whether every variant's speed beside the fastest one's is known with its spread."""
    found = [bench.speedup(fastest, entry) for entry in fit if entry is not fastest]
    return all(stats.has_interval(each[1]) for each in found if each)


def _as_fast(bench: Bench, fast: Entry, entry: Entry) -> bool:
    found = bench.speedup(fast, entry)
    return found is not None and (not stats.significant(found[1]) or found[0] > 1 - MARGIN)


def _p50(entry: Entry) -> float:
    assert entry.latency is not None
    return entry.latency.p50


def _bytes(entry: Entry) -> float:
    return float("inf") if entry.bytes is None else entry.bytes


def _badness(entry: Entry) -> float:
    if entry.quality is None:
        return float("inf")
    lower = quality.better_is_lower(entry.quality.metric)
    return entry.quality.value if lower else -entry.quality.value


def _recommendation(bench: Bench, fit: list[Entry], winner: Entry | None, baseline: str) -> str:
    """Why this variant, or why none."""
    if winner is None:
        if bench.entries and all(entry.emulated for entry in bench.entries if entry.latency):
            timed = any(entry.latency for entry in bench.entries)
            return "emulated: no recommendation" if timed else "nothing was measured"
        if fit:
            return "a single round counts, which tells no speeds apart: measure for longer"
        return "no variant is fit to recommend"
    base = bench.get(baseline)
    if base is winner:
        others = sum(1 for entry in bench.entries if entry.latency and entry is not winner)
        return "no other variant is better" if others else "the only variant that was measured"
    if base is None or base.latency is None:
        return f"the best of what was measured; {baseline} was not, so there is no speed-up"
    found = bench.speedup(base, winner)
    change = quality.change(base.measurement, winner.measurement)
    ratio = _size_ratio(base, winner)
    said = (
        words.speed(found, baseline) if found else "",
        words.size(ratio, baseline) if ratio else "",
        words.quality(change, baseline) if change else "quality was not measured",
    )
    return ", ".join(part for part in said if part)


def _lost(bench: Bench, entry: Entry, winner: Entry | None) -> str:
    """Why a variant that is fit was not the one recommended; "" for the winner."""
    if winner is None or entry is winner:
        return ""
    found = bench.speedup(winner, entry)
    if found and not _as_fast(bench, winner, entry) and found[0] < 1:
        return words.speed(found, winner.name)
    if _bytes(entry) > _bytes(winner):
        return f"no faster than {winner.name}, and bigger"
    return f"no better than {winner.name}"
