"""Measuring a package on the devices of a plan, journaled as it goes.

A run is in the store from its first moment, with a place for every variant on every device;
each device's results are stored before anyone is told of them. So a host that is killed loses
nothing that it reported, and what is missing can be measured later.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgepack import admission, codec, config, fleet, revision, scoring
from edgepack import package as packages
from edgepack.errors import Abandoned, EdgepackError
from edgepack.model import (
    Device,
    EvalData,
    Event,
    Failure,
    Job,
    Measurement,
    Package,
    Recipe,
    Run,
    Status,
    Variant,
)
from edgepack.parity import Reference
from edgepack.plan import Plan, Target
from edgepack.store import Store, is_final, open_store

Emit = Callable[[Event], None]

RESUMED = "resumed"
"""Flag of a result that comes from another session than others of its device: the board's
state may have been another, so a ratio between them is less sure than usual."""


def begin(package: Package, directory: Path, plan: Plan) -> Run:
    """Store a run in which everything is still to be measured, and return it."""
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    run = Run(
        run_id=run_id,
        started_at=now.isoformat(timespec="seconds"),
        package=package,
        package_path=str(directory.resolve()),
        measurements=tuple(_places(run_id, package, plan)),
        git_commit=revision.commit(),
        git_branch=revision.branch(),
        note=plan.note,
    )
    with open_store(config.store_url()) as store:
        store.save(run, journal=json.dumps(codec.to_json(plan)))
    return run


def _places(run_id: str, package: Package, plan: Plan) -> Iterator[Measurement]:
    failure = Failure(
        code="EP412",
        what="The run ended before this was measured.",
        hint=f"Measure what is missing: edgepack run --resume {run_id}",
    )
    for target in plan.targets:
        for variant in package.variants:
            yield Measurement(
                variant=variant.name,
                device=target.device.name,
                profile=target.profile.name,
                status=Status.FAILED,
                failure=failure,
            )


def journaled(document: str, run: Run, registered: Mapping[str, Device]) -> Plan:
    """The plan that a run's journal holds, its devices as they are registered now.

    Raises:
        EdgepackError: EP402 a device with results to come has another profile than then, or a
            device with some of its results has none of the host keys that it had.
    """
    plan = codec.from_json(Plan, json.loads(document))
    targets = []
    for target in plan.targets:
        device = registered.get(target.device.name, target.device)
        done = {is_final(one) for one in run.measurements if one.device == device.name}
        if False in done:
            _same_board(run, target.device, device, begun=True in done)
        targets.append(dataclasses.replace(target, device=device))
    return dataclasses.replace(plan, targets=tuple(targets))


def _same_board(run: Run, then: Device, now: Device, *, begun: bool) -> None:
    """Results of two boards must not stand under one name."""
    changed = "profile" if then.profile != now.profile else ""
    if begun and then.host_keys and not set(then.host_keys) & set(now.host_keys):
        changed = "host key"
    if changed:
        raise EdgepackError(
            "EP402",
            f"'{now.name}' has another {changed} than when run {run.run_id} began",
            where=now.name,
            hint="It may be another board: register that one under a name of its own, or measure "
            f"anew: edgepack bench {run.package_path}",
        )


def complete(
    run: Run, package: Package, directory: Path, plan: Plan, store: Store, *, emit: Emit
) -> bool:
    """Measure what the run lacks; what fails is in the run, never raised.

    Returns whether Ctrl-C cut it short (what was measured is kept).
    """
    # Metrics of their own judge all that comes back; likeness would be thrown away.
    alike = 0 if plan.quality else plan.settings.output_samples
    reference = Reference(package, directory, plan.settings.parity_samples, alike)
    judge = scoring.Judge(plan.quality, package, directory, emit)
    known = {measured.device for measured in run.measurements if is_final(measured)}
    emit(Event(kind="log", stage="measure", message=f"run {run.run_id}"))
    wanted = jobs(run, package, directory, plan)
    with _interruptible() as cancel, _reports(wanted, plan, emit, cancel) as reports:
        for report in reports:
            checked = reference.with_parity(report.measurements, report.outputs)
            checked = judge.with_quality(checked, report.outputs)
            flagged = [
                _flagged(
                    one, plan, package.variant(one.variant).recipe, resumed=one.device in known
                )
                for one in checked
            ]
            if plan.bisect and not cancel.is_set():
                job = next(each for each in wanted if each.device.name == report.device)
                flagged = [_bisected(one, job, directory, reference, emit) for one in flagged]
            store.record(run.run_id, flagged, report.transfer)
            _tell_measured(flagged, emit)
        return cancel.is_set()


def _bisected(
    measured: Measurement, job: Job, directory: Path, reference: Reference, emit: Emit
) -> Measurement:
    """The measurement, with the first operation at which it differs from the host's outputs."""
    if measured.status is not Status.OK:
        return measured
    if measured.parity is None or measured.parity.max_abs_diff == 0:
        emit(_nothing_to_bisect(measured))
        return measured
    from edgepack import bisect

    file = directory / packages.variant_file(measured.variant)
    try:
        found = bisect.first_difference(job, measured.variant, file, reference.inputs(), emit=emit)
    except EdgepackError as error:
        said = f"{measured.device} {measured.variant}: no bisection: {error}"
        emit(Event(kind="warning", stage="measure", message=said))
        return dataclasses.replace(measured, flags=(*measured.flags, "not-bisected"))
    return dataclasses.replace(measured, divergence=found)


def _nothing_to_bisect(measured: Measurement) -> Event:
    """Told, so that silence after `--bisect` is not taken for a search that found nothing."""
    why = "outputs are this host's"
    if measured.parity is None:
        why = "outputs could not be compared with this host's"
    return Event(
        kind="fact",
        stage="measure",
        message=f"{why}: nothing to bisect",
        device=measured.device,
        variant=measured.variant,
    )


@contextmanager
def _reports(
    wanted: Sequence[Job], plan: Plan, emit: Emit, cancel: threading.Event
) -> Iterator[Iterator[fleet.DeviceReport]]:
    """The reports as the devices finish, talked to from here or from the plan's engine."""
    if plan.engine is None or not wanted:
        yield fleet.run_jobs(wanted, emit=emit, cancel=cancel)
        return
    with fleet.opened(plan.engine) as engine:
        yield fleet.run_jobs_on(engine, wanted, emit=emit, cancel=cancel)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C sets the event, and the second raises Abandoned.

    So the first one breaks off nothing that is being stored, wherever it arrives.
    """
    cancel = threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        if cancel.is_set():
            raise Abandoned
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield cancel  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def jobs(run: Run, package: Package, directory: Path, plan: Plan) -> list[Job]:
    """One job for each device that lacks something: those variants, one data set."""
    done = {(m.device, m.variant) for m in run.measurements if is_final(m)}
    found = []
    for target in plan.targets:
        name = target.device.name
        lacking = [each for each in package.variants if (name, each.name) not in done]
        if lacking:
            found.append(_job(package, lacking, directory, plan, target))
    return found


def _job(
    package: Package, variants: Sequence[Variant], directory: Path, plan: Plan, target: Target
) -> Job:
    trust, proofs = admission.for_device(directory, plan, target.device)
    files = [*packages.blobs(package, directory, variants), *proofs]
    data, settings = _job_data(package, plan), plan.settings
    if plan.device_data is not None:  # the host has no such samples to compare outputs with
        files = [
            file for file in files if package.data is None or file.sha256 != package.data.sha256
        ]
        data, settings = None, dataclasses.replace(settings, parity_samples=0)
    elif plan.quality:
        settings = scoring.with_outputs(settings, package)
    return Job(
        job_id=secrets.token_hex(8),
        device=target.device,
        profile=target.profile,
        variants=tuple(variants),
        data=data,
        blobs=tuple({file.sha256: file for file in files}.values()),
        settings=settings,
        trust=trust,
        device_data=plan.device_data,
    )


def _job_data(package: Package, plan: Plan) -> EvalData | None:
    """The data as the device is to see them: it judges nothing that the host will judge."""
    if package.data is None or not plan.quality:
        return package.data
    return dataclasses.replace(package.data, task="none")


def _tell_measured(measurements: Sequence[Measurement], emit: Emit) -> None:
    for one in measurements:
        if one.status is Status.OK:
            emit(
                Event(
                    kind="measured",
                    stage="measure",
                    message="ok",
                    device=one.device,
                    variant=one.variant,
                )
            )


def _flagged(measured: Measurement, plan: Plan, recipe: Recipe, *, resumed: bool) -> Measurement:
    """The measurement, with what only the host can know of it as flags."""
    profile = next(t.profile for t in plan.targets if t.device.name == measured.device)
    flags = measured.flags
    if _arch(measured) not in (None, *profile.arch):
        flags = (*flags, "other-architecture")
    if resumed:
        flags = (*flags, RESUMED)
    flags = (*flags, *threads_flags(measured))
    flags = (*flags, *precision_flags(measured, recipe))
    return dataclasses.replace(measured, flags=flags)


def precision_flags(measured: Measurement, recipe: Recipe) -> tuple[str, ...]:
    """`not-float` or `not-int8`: the file computes in other numbers than its recipe says."""
    types, last = measured.accelerator.types, recipe.passes[-1].name if recipe.passes else ""
    integers = sum(types.get(name, 0) for name in ("int8", "uint8", "hybrid"))
    if integers and (last in ("convert.float", "quantize.fp16") or recipe.name == "float"):
        return ("not-float",)
    if types and not integers and last in ("quantize.int8", "quantize.qat"):
        return ("not-int8",)
    return ()


def threads_flags(measured: Measurement) -> tuple[str, ...]:
    """`more-threads-than-cores`: threads wait for each other, in the sweep or in all rounds."""
    cores = _cpu(measured).get("cores")
    counts = [measured.threads, *(point.threads for point in measured.sweep)]
    over = isinstance(cores, int) and max(counts) > cores
    return ("more-threads-than-cores",) if over else ()


def _arch(measured: Measurement) -> str | None:
    arch = _cpu(measured).get("arch")
    return arch if isinstance(arch, str) else None


def _cpu(measured: Measurement) -> Mapping[str, object]:
    cpu = measured.environment.get("cpu")
    return cpu if isinstance(cpu, dict) else {}
