"""The best of each number of threads against each other, in the rounds of one job.

Finalists with other numbers of threads come from other runs, and a board changes from one run to
the next: on a virtual machine one thread and two were seen in either order. So the best of each
run are measured once more, side by side, each with every number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgepack import inloop
from edgepack.analysis import modes
from edgepack.model import Event, JobSettings, Measurement, Status
from edgepack.plan import Target
from edgepack.searching.answers import Final
from edgepack.searching.gauge import Setting, with_runtime

Duel = Callable[[Sequence[Final]], Mapping[Setting, float]]
"""Rivals of different threads and one runtime -> p50 in microseconds of each one's setting;
nothing where they could not be measured."""


def duel(
    target: Target,
    rivals: Sequence[Final],
    content: Callable[[Final], bytes],
    *,
    seconds: float,
    seed: int,
    emit: Callable[[Event], None],
) -> Mapping[Setting, float]:
    """See `Duel`. content: a finalist's file. seconds: for all of it, at most."""
    counts = sorted({_threads(one, target) for one in rivals})
    names = [f"{one.variant}-{_threads(one, target)}t" for one in rivals]
    settings = JobSettings(
        threads=counts[0],
        sweep_threads=tuple(counts[1:]),
        max_s=seconds,
        seed=seed,
        timeout_s=600.0,
        parity_samples=0,
        wait_s=60.0,
    )
    said = ", ".join(one.setting.said for one in rivals)
    emit(Event(kind="stage", stage="search", message=f"measuring the best of {said} side by side"))
    [report] = inloop.measure(
        {name: content(one) for name, one in zip(names, rivals, strict=True)},
        [with_runtime(target, rivals[0].setting)],
        settings=settings,
        emit=emit,
    )
    measured = {one.variant: one for one in report.measurements}
    times = {
        one.setting: _p50(measured.get(name), _threads(one, target))
        for name, one in zip(names, rivals, strict=True)
    }
    return {setting: us for setting, us in times.items() if us is not None}


def _threads(one: Final, target: Target) -> int:
    return one.setting.threads or target.profile.threads


def _p50(measured: Measurement | None, threads: int) -> float | None:
    if measured is None or measured.status is not Status.OK:
        return None
    found = {point.threads: point.p50 for point in modes.swept(measured)}
    return found.get(threads)
