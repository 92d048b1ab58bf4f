"""The loop: ask, make, measure, tell; a generation after the other, until trials or time end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from edgepack.compress import loading
from edgepack.compress.structured import Kernel, Layout, layout
from edgepack.errors import EdgepackError
from edgepack.fleet.engine import Engine
from edgepack.model import Event, Measurement
from edgepack.report.text import microseconds
from edgepack.searching import limits, space, stages, telling
from edgepack.searching.cutter import Cutter, in_int8
from edgepack.searching.foundry import Foundry, opened
from edgepack.searching.gauge import BATCH, SOURCE, DeviceLostError, Gauge, Setting, lost, patience
from edgepack.searching.making import Here, Making
from edgepack.searching.readings import Readings, failed
from edgepack.searching.study import Study
from edgepack.searching.tables import Measure, TimeUpError
from edgepack.searching.untried import cannot_cut
from edgepack.searching.values import Candidate, Choice, Tried
from edgepack.searching.workers import Workers

Emit = Callable[[Event], None]
_Futures = Mapping[str, "Future[Mapping[str, Measurement]]"]
# Kept for measuring the finalists: as a share of the time, and at most.
_RESERVE, _RESERVE_MOST_S = 0.15, 120.0


@dataclass
class _Job:
    """A batch under way on the devices."""

    candidates: list[Candidate]
    setting: Setting
    futures: _Futures


@dataclass
class Searching:
    """One process's work on one study.

    foundry, builder: for the finalists. space: what could be chosen, once it runs. lost: devices
    that failed, with why. engine: what else than this process makes candidates.
    """

    study: Study
    emit: Emit
    engine: Engine | None = None
    lost: dict[str, DeviceLostError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        request = self.study.request
        self._began = time.monotonic() - self.study.seconds_used
        self.builder = opened(request, self._building)
        self._cutter: Cutter | None = None
        self.space: space.Space | None = None
        self._stages: dict[int, tuple[str, int]] = {}
        self.foundry = Foundry(
            self.builder,
            seed=request.seed,
            short=request.epochs[0],
            widths=self._widths,
        )
        self._making: Making = Here(self.foundry)
        if self.engine is not None:
            self._making = Workers(self.engine, self.foundry, self.builder, request, self._widths)
        self._readings = Readings(request, self.foundry)
        self.study.judged_by(self.foundry.judge)

    def run(self) -> list[Tried]:
        """Search until trials or time are up; every finished trial, those of before too.

        Raises:
            EdgepackError: the failure of the last device that answered.
        """
        try:
            self._searched()
        finally:
            self.study.spent(self.seconds)
        return self.study.tried()

    def _searched(self) -> None:
        request, study = self.study.request, self.study
        found = self._layout()
        context = self.foundry.context
        shape = self.space = space.of(
            request,
            cuts=found is not None and bool(found.groups),
            trains=context.dataset.train_samples > 0 and context.dataset.source != "random",
            labels=context.dataset.y_train is not None,
        )
        if cannot_cut(request, shape):
            self._say("stage", "nothing can be cut in this model")
        course = stages.Course(
            space=shape,
            seed=request.seed,
            speed=limits.quality_is_limited(request.budgets),
            trials=request.trials,
        )
        with Gauge(
            request.targets,
            self.foundry.source_file,
            seed=request.seed,
            emit=self.emit,
            data=request.device_data,
            wait_s=patience(request.seconds),
        ) as gauge:
            self._first_look(gauge)
            if found is not None:
                self._cutter = self._new_cutter(found, gauge)
            study.enqueue_all(course.rest(study.tried(), study.begun()))
            asked = study.ask(shape)
            while not self._late():
                if asked:
                    self._generation(asked, gauge)
                if self._late():
                    break
                step = course.due(study.tried(), study.begun())
                if step is None:
                    break
                study.enqueue_all(step)
                asked = study.ask(shape)

    @property
    def seconds(self) -> float:
        """Time spent on this search by all its processes."""
        return time.monotonic() - self._began

    def _late(self, needed: float = 0.0) -> bool:
        """Whether the time is up, or too short for what needs so many seconds."""
        whole = self.study.request.seconds
        if whole is None:
            return False
        reserve = min(_RESERVE * whole, _RESERVE_MOST_S)
        return self.seconds + needed > whole - reserve

    def prepared(self, gauge: Gauge) -> Cutter:
        """The cutter with its tables measured. EP206 for a model that cannot be cut."""
        found = self._layout()
        if found is None or not found.groups:
            raise EdgepackError(
                "EP206", "No channels can be taken out", hint="Give a Keras 3 model with some."
            )
        self._first_look(gauge)
        cutter = self._new_cutter(found, gauge)
        cutter.prepare()
        return cutter

    def _widths(self, choice: Choice) -> Mapping[str, int]:
        return self._cutter(choice) if self._cutter else {}

    # ------------------------------------------------------------ before the first trial

    def _layout(self) -> Layout | None:
        model = self.foundry.model
        if model is None or not self.study.request.cut:
            return None
        if self.study.request.device_data is not None:
            self._say("log", "nothing is cut: what the devices have, this host cannot train on")
            return None
        allowed = self.study.request.allow_custom_objects
        try:
            with loading.allowed(self.foundry.context.source, allowed):
                found = layout(model)
        except EdgepackError as error:
            self._say("log", f"nothing is cut: {error.what}")
            return None
        if found.uncounted:
            self._say("log", f"not in the latency tables: {', '.join(found.uncounted)}")
        return found

    def _first_look(self, gauge: Gauge) -> None:
        """The source on every device: is it there, and how fast is it?"""
        self._say("stage", "measuring the source on every device")
        setting = Setting(
            threads=self.study.request.threads[0], runtime=self.study.request.runtimes[0]
        )
        found = self._gathered(gauge.begin({}, setting), gauge)
        for device, measured in found.items():
            us = self._readings.reference(device, setting, measured[SOURCE])
            self._say("log", f"the float source takes {microseconds(us)}", device=device)
            if self.study.request.device_data and measured[SOURCE].quality is None:
                message = "its data have no labels: quality is agreement on random inputs"
                self._say("warning", message, device=device)

    def _new_cutter(self, found: Layout, gauge: Gauge) -> Cutter:
        request = self.study.request
        return Cutter(
            found,
            request,
            self.foundry.context,
            lambda: {t.device.name: self._measures(gauge, t.device.name) for t in gauge.targets},
            int8=self._arithmetic,
            runtime=self._readings.runtime,
        )

    def _arithmetic(self) -> Callable[[Kernel], bool]:
        """In which kernels the source's fastest scheme computes in int8: so they are measured."""
        source = [one for one in self.study.tried() if one.stage == stages.SOURCE and one.ok]
        fastest = min(source, key=stages.relative, default=None)
        return in_int8(fastest.recipe if fastest else None)

    def _measures(self, gauge: Gauge, device: str) -> Measure:
        setting = self._readings.setting(device)

        def measure(files: Mapping[str, bytes]) -> Iterator[Mapping[str, float]]:
            names = list(files)
            for start in range(0, len(names), BATCH):
                if self._late():
                    return
                part = {name: files[name] for name in names[start : start + BATCH]}
                message = f"measuring kernels at their widths, {start} of {len(names)}"
                self._say("progress", message, device=device, done=start, total=len(names))
                measured = self._gathered(gauge.begin(part, setting, only=device), gauge)
                if device not in measured:
                    raise self.lost[device]
                self.study.spent(self.seconds)
                yield {
                    name: self._readings.microseconds(device, setting, name, measured[device])
                    for name in part
                }

        return measure

    # ------------------------------------------------------------ a generation

    def _generation(self, asked: Sequence[tuple[int, Choice]], gauge: Gauge) -> None:
        """Make, measure and tell. Devices work on a batch while the next one is made."""
        self._stages = self.study.stages()
        if self._cutter and any(choice.percent < 100 for _, choice in asked):
            try:
                self._cutter.prepare()
            except TimeUpError:  # what was asked for stays so, for a --resume
                self._say("warning", telling.NO_WIDTHS)
                return
        waiting: dict[Setting, list[Candidate]] = {}
        under_way: list[_Job] = []
        for number, choice, candidate in self._making.made(asked, self._late):
            if isinstance(candidate, EdgepackError):
                self._tell(failed(number, self._stages[number], choice, str(candidate)))
                continue
            setting = Setting(threads=choice.threads, runtime=choice.runtime)
            batch = waiting.setdefault(setting, [])
            batch.append(candidate)
            idle = not gauge.alone and all(_done(job) for job in under_way)
            if len(batch) >= BATCH or idle:
                under_way.append(self._begun(waiting.pop(setting), setting, gauge))
            under_way = self._finished(under_way, gauge, wait=gauge.alone)
        for setting, batch in waiting.items():
            under_way.append(self._begun(batch, setting, gauge))
        self._finished(under_way, gauge, wait=True)

    def _begun(self, batch: list[Candidate], setting: Setting, gauge: Gauge) -> _Job:
        files = {candidate.recipe.name: candidate.content for candidate in batch}
        return _Job(batch, setting, gauge.begin(files, setting))

    def _finished(self, jobs: list[_Job], gauge: Gauge, *, wait: bool) -> list[_Job]:
        """Tell the jobs that are done (all of them, to wait for); those that are not."""
        left = []
        for job in jobs:
            if wait or _done(job):
                measured = self._gathered(job.futures, gauge)
                for candidate in job.candidates:
                    place = self._stages[candidate.number]
                    self._tell(self._readings.tried(candidate, place, job.setting, measured))
            else:
                left.append(job)
        return left

    def _gathered(self, futures: _Futures, gauge: Gauge) -> dict[str, Mapping[str, Measurement]]:
        """By device, what was measured; a device that failed is left out from here on."""
        found = {}
        for device, future in futures.items():
            try:
                found[device] = future.result()
            except DeviceLostError as error:
                self.lost[device] = error
                gauge.drop(device)
                self._say("failed", f"the search goes on without it: {error.failure.what}", device)
        if not gauge.targets:
            raise lost(next(iter(self.lost.values())), self.study.name)
        return found

    def _tell(self, tried: Tried) -> None:
        tried = replace(tried, at_s=round(self.seconds, 3))
        self.study.tell(tried)
        self.study.spent(self.seconds)
        self.emit(telling.of_trial(tried))
        self.emit(telling.of_progress(self.study.tried(), self.study.request, self.seconds))

    def _building(self, event: Event) -> None:
        """What builds say: their progress and failures; a cut's warnings come with finalists."""
        if event.kind in ("progress", "failed"):
            self.emit(event)

    def _say(
        self,
        kind: str,
        message: str,
        device: str | None = None,
        done: float | None = None,
        total: float | None = None,
    ) -> None:
        self.emit(
            Event(kind=kind, stage="search", message=message, device=device, done=done, total=total)
        )


def _done(job: _Job) -> bool:
    return all(future.done() for future in job.futures.values())
