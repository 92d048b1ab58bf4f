"""Several runs side by side, each measurement against its counterpart in a baseline.

The baseline is either a variant (each run is compared with its own) or a run (each variant on
each device is compared with the same variant on the same device there). A pair that is not
alike (`analysis.like`) is not compared; the row says why. Rows of one run are paired by round,
rows of two runs by nothing (`analysis.sessions`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from edgepack.analysis import like, quality, sessions, stats
from edgepack.analysis.bench import Entry, benches, energy_mj
from edgepack.errors import EdgepackError
from edgepack.model import Run

FLOAT = "float"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A variant's name, or a run; exactly one is set."""

    variant: str | None = None
    run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One measurement and what it is compared with.

    number: which of the runs, from 0; base: None when there is no counterpart, and then
    `note` says so; speedup: base p50 / this p50, None when not compared; change: of quality;
    size_ratio, memory_ratio (of the peaks), energy_ratio: this / base. note: what was
    different, or why nothing is said.
    """

    number: int
    run_id: str
    device: str
    setting: str
    entry: Entry
    base: Entry | None = None
    is_base: bool = False
    speedup: float | None = None
    speedup_ci95: tuple[float, float] | None = None
    change: quality.Change | None = None
    size_ratio: float | None = None
    memory_ratio: float | None = None
    energy_ratio: float | None = None
    note: str = ""

    @property
    def significant(self) -> bool | None:
        """Whether the speed-up's interval leaves out 1; None where there is no interval."""
        return None if self.speedup_ci95 is None else stats.significant(self.speedup_ci95)


def pairs(runs: Sequence[Run], baseline: Baseline, across: Collection[str] = ()) -> list[Pair]:
    """Every measurement of the runs, by device, then variant, then run.

    across: the dimensions (`like.DIMENSIONS`) whose difference is what is to be looked at.
    """
    found = [pair for number, run in enumerate(runs) for pair in _of(run, number, baseline, across)]
    devices = list(dict.fromkeys(pair.device for pair in found))
    variants = list(dict.fromkeys(pair.entry.name for pair in found))
    found.sort(key=lambda p: (devices.index(p.device), variants.index(p.entry.name), p.number))
    return found


def usual(runs: Sequence[Run]) -> Baseline:
    """What runs are held against when nothing was asked for: each against its own float variant.

    Where no run has anything beside one (a `.tflite` taken as it is has a variant of another
    name), several runs are held against the first of them, and one against its first variant.
    """
    if any(has_beside(run, FLOAT) for run in runs):
        return Baseline(variant=FLOAT)
    return Baseline(run=runs[0]) if len(runs) > 1 else Baseline(variant=own(runs, FLOAT))


def own(runs: Sequence[Run], asked: str) -> str:
    """The variant that is each run's own baseline; for float where none has it, the first one."""
    names = [variant.name for run in runs for variant in run.package.variants]
    return names[0] if names and asked == FLOAT and asked not in names else asked


def has_beside(run: Run, variant: str) -> bool:
    """Whether a run has that variant, and another to compare with it."""
    names = {each.name for each in run.package.variants}
    return variant in names and len(names) > 1


def check_any(found: Sequence[Pair], baseline: Baseline) -> None:
    """EP105 where none of the pairs has two sides."""
    if any(pair.base is not None and not pair.is_base for pair in found):
        return
    if baseline.run is None:
        what = f"no run has a variant to compare with its '{baseline.variant}'"
        hint = "Give another run as the baseline, for example --baseline latest~1."
    elif all(pair.is_base for pair in found):
        what, hint = "the baseline is the run itself", "Name another run, for example latest~1."
    else:
        what = f"nothing was measured that run {baseline.run.run_id} has too"
        hint = (
            "Compare runs that share a variant's and a device's name; 'edgepack runs show RUN' "
            "lists them."
        )
    raise EdgepackError("EP105", what, where="--baseline", hint=hint)


def counterpart(run: Run, device: str, variant: str) -> Entry | None:
    """A run's measurement of that variant on that device; None when it has none."""
    bench = next((each for each in benches(run) if each.device == device), None)
    return bench.get(variant) if bench else None


def unlike(
    base_run: Run, base: Entry, run: Run, entry: Entry, across: Collection[str] = ()
) -> tuple[like.Difference, ...]:
    """What keeps two measurements, of one run or of two, from being compared."""
    if base_run.run_id == run.run_id:
        found = like.within_a_run(base.measurement, entry.measurement)
    else:
        found = like.differences(base.measurement, entry.measurement)
        found += like.evaluation(base_run.package, run.package)
    return tuple(each for each in found if each.what not in across)


def _of(run: Run, number: int, baseline: Baseline, across: Collection[str]) -> Iterator[Pair]:
    base_run = baseline.run or run
    bases = {(b.device, e.name): e for b in benches(base_run) for e in b.entries}
    for bench in benches(run):
        for entry in bench.entries:
            base = bases.get((bench.device, baseline.variant or entry.name))
            yield _pair(run, number, bench.device, entry, base_run, base, across)


def _pair(
    run: Run,
    number: int,
    device: str,
    entry: Entry,
    base_run: Run,
    base: Entry | None,
    across: Collection[str],
) -> Pair:
    own = base is not None and base.measurement is entry.measurement
    same_run = base_run.run_id == run.run_id
    plain = Pair(
        number=number,
        run_id=run.run_id,
        device=device,
        setting=_setting(entry),
        entry=entry,
        base=base,
        is_base=own or (same_run and base is not None and base.name == entry.name),
        note=_why_not(entry, base, base_run),
    )
    if plain.note or base is None or plain.is_base:
        return plain
    forbidding = unlike(base_run, base, run, entry, across)
    if forbidding:
        return _with(plain, note=f"not compared: {like.said(forbidding)}")
    value, interval = sessions.ratio(base.measurement, entry.measurement, 50, paired=same_run)
    seen = like.differences(base.measurement, entry.measurement)
    return _with(
        plain,
        speedup=value,
        speedup_ci95=interval,
        change=quality.change(base.measurement, entry.measurement),
        size_ratio=_ratio(base.bytes, entry.bytes),
        memory_ratio=_ratio(base.measurement.peak_rss_bytes, entry.measurement.peak_rss_bytes),
        energy_ratio=_ratio(energy_mj(base.measurement), energy_mj(entry.measurement)),
        note=like.said(seen),
    )


def _with(pair: Pair, **changes: object) -> Pair:
    from dataclasses import replace

    return replace(pair, **changes)  # type: ignore[arg-type]


def _setting(entry: Entry) -> str:
    told = like.setting(entry.measurement)
    governor = like.governor(entry.measurement)
    return f"{told}, governor {governor}" if governor else told


def _why_not(entry: Entry, base: Entry | None, base_run: Run) -> str:
    if entry.latency is None:
        failure = entry.measurement.failure
        status = str(entry.measurement.status)
        return f"{status}: {failure.what}" if failure else f"{status}: nothing was measured"
    if base is None:
        return f"not compared: no counterpart in run {base_run.run_id}"
    if base.latency is None:
        return f"not compared: the baseline was not measured ({base.measurement.status})"
    return ""


def _ratio(before: float | None, now: float | None) -> float | None:
    return now / before if before and now is not None else None
