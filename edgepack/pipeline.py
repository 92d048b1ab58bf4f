"""Carries out a plan: build the variants, measure them on every device, store, compare, judge.

Each step is a function of the one before; what a person watches goes out through `emit`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack import admission, config, fetching, private
from edgepack import package as packages
from edgepack.errors import EdgepackError
from edgepack.model import (
    Comparison,
    Device,
    Event,
    Measurement,
    Package,
    Run,
    Status,
    Verdict,
)
from edgepack.plan import Plan

if TYPE_CHECKING:
    from edgepack.compress.site import Site

Emit = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run ends with.

    baseline: the run it was compared with, if any; interrupted: Ctrl-C cut the measuring short.
    """

    run: Run
    comparison: Comparison
    verdict: Verdict
    baseline: Run | None = None
    interrupted: bool = False


# ---------------------------------------------------------------- building


def build(plan: Plan, directory: Path | None, *, emit: Emit) -> tuple[Package, Path]:
    """Build the plan's variants and write them as a package.

    directory: where to; None for the content-addressed place in the data folder.
    Errors: EP1xx-EP3xx as the model, the recipes and the data call for; EP105, EP603 a
    directory that cannot be written, before anything is built.
    """
    from edgepack import data
    from edgepack.compress import engine

    if directory is not None:
        packages.check_output(directory)
    plan = fetched(plan, emit)
    emit(Event(kind="stage", stage="build", message=f"building {plan.model}"))
    dataset = None if plan.data is None or plan.device_data else data.load(plan.data)
    built = engine.build(
        plan.model,
        plan.recipes,
        dataset,
        cache=config.cache_dir() / "builds",
        allow_custom_objects=plan.allow_custom_objects,
        arch=plan.arch,
        site=_site(plan, emit),
        emit=emit,
    )
    if plan.calibrate_on_device and not packages.calibrated_on(built.variants):
        message = "--calibrate-on-device changed nothing: no recipe takes ranges from data"
        emit(Event(kind="warning", stage="build", message=message))
    own = config.data_dir() / "packages"
    target = directory or private.folder(own) / f".new-{secrets.token_hex(8)}"
    package = packages.write(
        target,
        source_name=built.source_name,
        source_sha256=built.source_sha256,
        variants=built.variants,
        files=built.files,
        dataset=built.dataset,
        tools=built.tools,
    )
    if directory is None:
        target = _settle(target, package.digest)
    return package, target


def fetched(plan: Plan, emit: Emit) -> Plan:
    """The plan with its model and data on this host. EP105, EP110, EP201, EP301."""
    named = plan.data if plan.device_data else fetching.data(plan.data, emit)
    return replace(plan, model=fetching.model(plan.model, emit), data=named)


def _site(plan: Plan, emit: Emit) -> Site | None:
    """Where the variants are to run and the data may be; None for a build without either."""
    if not plan.targets and plan.device_data is None:
        return None
    from edgepack import inloop

    return inloop.site(
        plan.targets,
        emit=emit,
        data=plan.device_data,
        calibrate=plan.settings if plan.calibrate_on_device else None,
    )


def _settle(fresh: Path, digest: str) -> Path:
    """Move a new package to the place its digest names, unless it is there already."""
    import shutil

    final = fresh.parent / digest
    if final.exists():
        shutil.rmtree(fresh)
    else:
        private.close(fresh)
        fresh.rename(final)
    return final


# ---------------------------------------------------------------- the whole


def execute(plan: Plan, *, emit: Emit) -> Outcome:
    """Build, measure, store and judge: what `edgepack run` does."""
    admission.refuse_unsigned(plan)
    plan = fetched(plan, emit)
    package, directory = build(plan, None, emit=emit)
    return bench(package, directory, plan, emit=emit)


def bench(package: Package, directory: Path, plan: Plan, *, emit: Emit) -> Outcome:
    """Measure, store and judge a package that is there already.

    Errors: EP209, EP210 where only a signed package may be measured, and this is none.
    """
    from edgepack.concluding import settled
    from edgepack.measuring import begin
    from edgepack.store import open_store

    admission.check(directory, plan)
    # Before anything is measured: a wrong name would be told too late, and "latest" would
    # come to mean this very run.
    with open_store(config.store_url()) as store:
        plan = replace(plan, baseline=settled(plan.baseline, package, store))
    run = begin(package, directory, plan)
    return _finish(run, package, directory, plan, emit=emit)


def resume(ref: str, *, registered: Mapping[str, Device], emit: Emit) -> Outcome:
    """Measure what a run lacks: what its host or devices ended before, cancelled or failed.

    The same package and settings as before; a device is reached as it is registered now, or
    as it was then where it is registered no more.

    Errors: EP208 the package is gone or is another; EP402 a device is another than then; EP601 no
    such run, or one without journal.
    """
    from edgepack.measuring import journaled
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        run = store.load(ref)
        plan = journaled(store.journal(ref), run, registered)
    package, directory = _same_package(run)
    admission.check(directory, plan)
    return _finish(run, package, directory, plan, emit=emit)


def _same_package(run: Run) -> tuple[Package, Path]:
    directory = Path(run.package_path or "")
    package = packages.read(directory)
    if package.digest != run.package.digest:
        raise EdgepackError(
            "EP208",
            f"The package of run {run.run_id} was {run.package.digest[:12]} and is now "
            f"{package.digest[:12]}.",
            where=str(directory),
            hint="Measure the new one in a run of its own.",
        )
    return package, directory


def _finish(run: Run, package: Package, directory: Path, plan: Plan, *, emit: Emit) -> Outcome:
    from edgepack.concluding import conclude
    from edgepack.measuring import complete
    from edgepack.store import open_store

    with open_store(config.store_url()) as store:
        interrupted = complete(run, package, directory, plan, store, emit=emit)
        for name in plan.tags:
            store.tag(run.run_id, name)
        done = store.load(run.run_id)
        emit(Event(kind="stage", stage="saved", message=f"saved as run {done.run_id}"))
        found = conclude(
            done,
            store,
            baseline=plan.baseline,
            budgets=plan.budgets,
            devices={target.device.name: target.device for target in plan.targets},
        )
    return Outcome(
        run=done,
        comparison=found.comparison,
        verdict=found.verdict,
        baseline=found.baseline,
        interrupted=interrupted,
    )


def any_device_failed(measurements: Iterable[Measurement]) -> bool:
    """Whether anything that was asked for could not be measured."""
    return any(measurement.status is not Status.OK for measurement in measurements)
