"""The end of a search: the finalists in one ordinary run, judged by the ordinary gate.

What the loop found is what to look at, not what to trust: its times come from many short
jobs, its quality from validation samples. The finalists are built by the engine from their
recipes, measured side by side with the float source on the evaluation data, and stored as a
run; only what that run says counts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from edgepack import config, pipeline, plan
from edgepack import package as packages
from edgepack.analysis import bench, stats
from edgepack.analysis import limits as measured_limits
from edgepack.analysis.compare import MARGIN
from edgepack.compress import recipes
from edgepack.compress.cache import tools
from edgepack.compress.workshop import fitted
from edgepack.errors import EdgepackError
from edgepack.model import Budget, Event, JobSettings, Recipe, Run, Status, Variant
from edgepack.pipeline import Outcome
from edgepack.plan import Target
from edgepack.searching import limits
from edgepack.searching.agreeing import agreeing, doubt
from edgepack.searching.answers import Answer, Binding, Conclusion, Final
from edgepack.searching.duel import Duel, duel
from edgepack.searching.finalists import at_most, finalists
from edgepack.searching.gauge import WAIT_S, Setting, with_runtime
from edgepack.searching.loop import Searching
from edgepack.searching.telling import counted
from edgepack.searching.untried import untried
from edgepack.searching.values import Tried

Emit = Callable[[Event], None]
BASELINE = "float"


def conclude(searching: Searching, tried: Sequence[Tried], *, emit: Emit) -> Conclusion:
    """Build, measure and judge the finalists.

    Raises:
        EdgepackError: EP108 when no trial was finished; what building or data call for.
        KeyboardInterrupt: nothing is concluded from finalists that were not all measured.
    """
    request = searching.study.request
    good = [one for one in tried if one.ok]
    if not good:
        raise EdgepackError(
            "EP108",
            "No trial was finished, so there is nothing to choose from",
            hint="Give more --time or --trials; 'edgepack search --resume' goes on.",
        )
    speed = limits.quality_is_limited(request.budgets)
    targets = [t for t in request.targets if t.device.name not in searching.lost]
    chosen = finalists(good, [t.device.name for t in targets], speed=speed)
    lost = {name: error.failure.what for name, error in searching.lost.items()}
    groups: dict[Setting, list[Tried]] = {}
    for one in chosen:
        setting = Setting(threads=one.choice.threads, runtime=one.choice.runtime)
        groups.setdefault(setting, []).append(one)
    outcomes = [
        (setting, _measured(searching, group, targets, setting, emit))
        for setting, group in groups.items()
    ]
    answers = []
    for target in targets:
        finals = [
            final
            for setting, outcome in outcomes
            for final in _finals(outcome, target, request.budgets, setting)
        ]
        if finals:
            meet = functools.partial(_duel, searching, target, outcomes, emit)
            answers.append(answer(target, finals, request.budgets, speed=speed, duel=meet))
        else:
            runs = [outcome.run for _, outcome in outcomes]
            lost[target.device.name] = _why(target.device.name, runs, searching.study.name)
    return Conclusion(
        answers=tuple(answers),
        lost=lost,
        runs=tuple(outcome.run for _, outcome in outcomes),
        notes=(*_notes(searching, tried, answers), *doubt(outcome.run for _, outcome in outcomes)),
    )


def _notes(
    searching: Searching, tried: Sequence[Tried], answers: Sequence[Answer]
) -> tuple[str, ...]:
    if searching.space is None or all(one.best for one in answers):
        return ()
    return tuple(untried(tried, searching.study.request, searching.space))


# ---------------------------------------------------------------- measuring


def _measured(
    searching: Searching,
    group: Sequence[Tried],
    targets: Sequence[Target],
    setting: Setting,
    emit: Emit,
) -> Outcome:
    """One run of the float source and these finalists."""
    request = searching.study.request
    variants, files = built(searching.builder.obtain, group, emit)
    directory = config.data_dir() / "packages" / f"search-{searching.study.name}-{setting.name}"
    package = packages.write(
        directory,
        source_name=searching.builder.workshop.source.path.name,
        source_sha256=searching.builder.workshop.source.sha256,
        variants=variants,
        files=files,
        dataset=fitted(searching.builder.workshop.given, variants[0].signature),
        tools=tools(),
    )
    wanted_plan = plan.make(
        model=str(directory),
        data=request.data,
        recipes=(),
        targets=[with_runtime(target, setting) for target in targets],
        settings=JobSettings(
            threads=setting.threads or None,
            max_s=request.max_seconds,
            seed=request.seed,
            timeout_s=600.0 + 60.0 * len(variants),
            output_samples=0 if request.device_data else agreeing(package, group),
            wait_s=WAIT_S,
        ),
        budgets=request.budgets,
        baseline=BASELINE,
        note=f"finalists of search {searching.study.name}",
    )
    emit(
        Event(kind="stage", stage="search", message=f"measuring {counted(len(group), 'finalist')}")
    )
    outcome = pipeline.bench(package, directory, wanted_plan, emit=emit)
    if outcome.interrupted:  # what is missing would be taken for a limit that nothing meets
        raise KeyboardInterrupt
    return outcome


def _why(device: str, runs: Sequence[Run], search: str) -> str:
    """Why a device has no finalists: what failed first there; and how it can have some."""
    own = [one for run in runs for one in run.measurements if one.device == device]
    # Without the float source nothing can be compared, whatever else was measured.
    own.sort(key=lambda one: one.variant != BASELINE)
    what = next((one.failure.what for one in own if one.failure), "no finalist has a latency")
    return f"{what.rstrip('.')}; measure the finalists with: edgepack search --resume {search}"


def _duel(
    searching: Searching,
    target: Target,
    outcomes: Sequence[tuple[Setting, Outcome]],
    emit: Emit,
    rivals: Sequence[Final],
) -> Mapping[Setting, float]:
    packaged = {outcome.run.run_id: outcome.run.package_path for _, outcome in outcomes}

    def content(one: Final) -> bytes:
        return (Path(packaged[one.run_id] or "") / packages.variant_file(one.variant)).read_bytes()

    request = searching.study.request
    return duel(target, rivals, content, seconds=request.max_seconds, seed=request.seed, emit=emit)


def built(
    obtain: Callable[[Recipe], tuple[Variant, Path]], group: Sequence[Tried], emit: Emit
) -> tuple[list[Variant], dict[str, Path]]:
    """The float source and these finalists, each file once, and where the files are by digest.

    A candidate that is the source's own file is left to the source: beside itself it would
    only take the others' time, and look faster or slower than it is by chance.
    """
    variant, path = obtain(recipes.parse(BASELINE))
    variants, files = [variant], {variant.sha256: path}
    for one in group:
        if one.recipe is None:
            continue
        variant, path = obtain(one.recipe)
        if variant.sha256 != one.sha256:
            message = "building its recipe gave another file than the one that was tried"
            emit(Event(kind="warning", stage="search", message=message, variant=one.recipe.name))
        if variant.sha256 not in files:
            variants.append(variant)
            files[variant.sha256] = path
    return variants, files


def _finals(
    outcome: Outcome, target: Target, budgets: Sequence[Budget], setting: Setting
) -> Iterator[Final]:
    run = outcome.run
    device = target.device.name
    measured = [m for m in run.measurements if m.device == device and m.status is Status.OK]
    entries = {m.variant: bench.entry(run.package, m) for m in measured}
    rows = {row.variant: row for row in outcome.comparison.rows if row.device == device}
    base = entries.get(BASELINE)
    bounds = list(limits.of_device(budgets, target.device))
    for name, entry in entries.items():
        latency = stats.latency(entry.measurement)
        if latency is None or base is None:
            continue
        values = {key: measured_limits.value(limit, entry, base) for key, limit, _ in bounds}
        delta = rows[name].quality_delta
        yield Final(
            trial=int(name[1:]) if name != BASELINE else None,
            variant=name,
            run_id=run.run_id,
            device=device,
            latency_us=latency.p50,
            latency_ci95_us=latency.p50_ci95,
            speedup=rows[name].speedup or 1.0,
            quality=entry.quality.value if entry.quality else None,
            quality_delta=delta,
            bytes=entry.bytes or 0,
            over=limits.over(bounds, entry, base, judged=True),
            values={key: value for key, value in values.items() if value is not None},
            setting=setting,
        )


# ---------------------------------------------------------------- judging


def answer(
    target: Target,
    finals: Sequence[Final],
    budgets: Sequence[Budget],
    *,
    speed: bool,
    duel: Duel = lambda _rivals: {},
) -> Answer:
    """The best of a device's finalists, or the limits that bind.

    speed: whether the fastest that fits is the best, or the one that loses the least. duel: what
    compares finalists of several runs; without one, their own times do.
    """
    bounds = {key: bound for key, _, bound in limits.of_device(budgets, target.device)}
    # What a limit needs and was not measured is not met.
    fits = [one for one in finals if _meets(one, bounds)]
    best = (_fastest(fits, duel) if speed else min(fits, key=_truest)) if fits else None
    return Answer(
        device=target.device.name,
        best=best,
        front=tuple(one for one in finals if not any(_beaten(one, other) for other in finals)),
        finals=tuple(finals),
        binding=() if best else tuple(_binding(finals, bounds)),
    )


def _fastest(fits: Sequence[Final], duel: Duel) -> Final:
    """The smallest of those that are as fast as the fastest, as `compare` says it.

    What ran with other threads was measured in another run: the best of each meet in a duel, and
    the fewest threads that are as fast win. Runtimes cannot meet in one job: their own times count.
    """
    by_runtime: dict[str, list[Final]] = {}
    for own in _by_setting(fits).values():
        best = _smallest(own, {})
        by_runtime.setdefault(best.setting.runtime, []).append(best)
    winners = [
        _smallest(rivals, duel(rivals)) if len(rivals) > 1 else rivals[0]
        for rivals in by_runtime.values()
    ]
    return _smallest(winners, {})


def _smallest(finals: Sequence[Final], times: Mapping[Setting, float]) -> Final:
    """times: by setting, what counts instead of a finalist's own time, if all have one."""
    whole = all(one.setting in times for one in finals)

    def us(one: Final) -> float:
        return times[one.setting] if whole else one.latency_us

    least = min(map(us, finals))
    as_fast = [one for one in finals if us(one) <= least * (1 + MARGIN)]
    return min(as_fast, key=lambda one: (one.setting.threads, one.bytes, us(one)))


def _by_setting(finals: Sequence[Final]) -> dict[Setting, list[Final]]:
    found: dict[Setting, list[Final]] = {}
    for one in finals:
        found.setdefault(one.setting, []).append(one)
    return found


def _truest(one: Final) -> tuple[float, float]:
    return -(one.quality_delta or 0.0), one.latency_us


def _beaten(one: Final, other: Final) -> bool:
    mine, theirs = _point(one), _point(other)
    return mine != theirs and at_most(theirs, mine)


def _point(one: Final) -> tuple[float, float, float]:
    return one.latency_us, -(one.quality_delta or 0.0), float(one.bytes)


def _binding(finals: Sequence[Final], bounds: Mapping[str, float]) -> Iterator[Binding]:
    """Each limit that is missed by what meets the others, or by all, with what came closest."""
    for limit, bound in bounds.items():
        known = [one for one in finals if limit in one.over]
        within = [one for one in known if _meets(one, bounds.keys() - {limit})]
        closest = min(within or known, key=lambda one: one.over[limit], default=None)
        if closest is None:
            yield Binding(
                limit=limit, bound=bound, value=None, excess=None, variant=None, others=False
            )
            continue
        if closest.over[limit] <= 0:
            continue
        yield Binding(
            limit=limit,
            bound=bound,
            value=closest.values[limit],
            excess=closest.over[limit],
            variant=closest.variant,
            others=bool(within),
        )


def _meets(one: Final, wanted: Iterable[str]) -> bool:
    """Whether all these limits were measured and are met."""
    return all(limit in one.over and one.over[limit] <= 0 for limit in wanted)


def write(searching: Searching, conclusion: Conclusion, folder: Path) -> Iterator[tuple[str, Path]]:
    """A package for each device that has a best: the float source and the best. EP105, EP603."""
    for one in conclusion.answers:
        if one.best is None:
            continue
        run = next(run for run in conclusion.runs if run.run_id == one.best.run_id)
        names = dict.fromkeys([BASELINE, one.best.variant])
        variants = [run.package.variant(name) for name in names]
        origin = Path(run.package_path or "")
        target = folder / one.device
        packages.write(
            target,
            source_name=run.package.source_name,
            source_sha256=run.package.source_sha256,
            variants=variants,
            files={v.sha256: origin / packages.variant_file(v.name) for v in variants},
            dataset=fitted(searching.builder.workshop.given, variants[0].signature),
            tools=run.package.tools,
        )
        yield one.device, target
