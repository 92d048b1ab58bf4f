"""Measuring: all variants loaded, then visited in seeded random order, round after round."""

import random
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set

from edgepack_agent import disturbance, modes, sweep
from edgepack_agent.afterwards import Afterwards
from edgepack_agent.blobs import BlobStore
from edgepack_agent.child import Cancelled, Nursery
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Data, Job, RuntimeSpec
from edgepack_agent.sampler import PERIOD_S, Sampler
from edgepack_agent.subject import Subject, Visit

PROGRESS_S = 1.0
LOOK_AGAIN = 20  # whether it is enough: when there is a twentieth more; looking takes time, too

Send = Callable[[Dict[str, Any]], None]


class Bench:
    """Measures the variants of one job. `send` takes events; `cancelled` ends the rounds; `on`:
    the cores to measure on, [] to leave that to the kernel."""

    def __init__(
        self,
        job: Job,
        store: BlobStore,
        runtime: RuntimeSpec,
        nursery: Nursery,
        send: Send,
        cancelled: threading.Event,
        check: Callable[[], None],
        on: List[int],
    ) -> None:
        self._job = job
        self._store = store
        self._runtime = runtime
        self._nursery = nursery
        self._send = send
        self._cancelled = cancelled
        self._check = check
        self._visited = sweep.subjects(job)
        self._subjects = [subject for subject in self._visited if not subject.swept]
        self._sampler = Sampler(nursery.pids, probes=job.probes)
        self._look_at = 0
        self._launch, self._launches = 0, 1
        self._first = 0  # the number of this launch's first round
        self._order = random.Random(job.settings.seed)
        self._core_order = random.Random(job.settings.seed)
        self._cores = on
        self.excluded: Set[int] = set()
        self.disturbances: List[Dict[str, Any]] = []

    @property
    def sampler(self) -> Sampler:
        """What the board was seen to do during the rounds."""
        return self._sampler

    def run(self) -> List[Subject]:
        """Load, warm up, measure, then outputs and quality; in the order of the job."""
        try:
            self._load_all()
            self._sampler.start()
            try:
                self._rounds()
            finally:
                self._sampler.stop()
                self._judge()
                sweep.fold(self._visited, self.excluded, self.warn)
            Afterwards(self._job, self._cancelled, self._send, self).run(self._subjects)
        except Cancelled:
            pass
        for subject in self._subjects:
            self._set_flags(subject)
            subject.end()
        return self._subjects

    def ask(self, subject: Subject, command: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """The child's reply, None when that was the end of it. The time comes off its budget.

        Each variant may use an equal share of the job's timeout_s, so that one which hangs
        leaves the others theirs, and all together end in time.
        """

        def forward(event: Dict[str, Any]) -> None:
            if event["event"] == "progress":
                event = dict(event, stage=command["do"])
            self._send(dict(event, variant=subject.ref.name))

        assert subject.child is not None
        start = time.monotonic()
        try:
            return subject.child.ask(command, subject.budget_s, self._cancelled, forward)
        except AgentError as error:
            subject.fail(error)
            return None
        finally:
            subject.budget_s = max(0.0, subject.budget_s - (time.monotonic() - start))

    def warn(self, subject: Subject, what: str) -> None:
        """Tell the log what is amiss with a variant."""
        message = "%s: %s" % (subject.ref.name, what)
        self._send({"event": "log", "level": "warning", "message": message})

    def progress(self, stage: str, variant: Optional[str], done: float, total: float) -> None:
        """Tell how far it is."""
        self._send(
            {"event": "progress", "stage": stage, "variant": variant, "done": done, "total": total}
        )

    def _load_all(self) -> None:
        settings = self._job.settings
        for number, subject in enumerate(self._visited):
            if self._cancelled.is_set():
                raise Cancelled
            self.progress("load", subject.ref.name, number, len(self._visited))
            reply = self.load(subject, settings.batch)
            if reply is not None:
                subject.loaded = reply
                subject.warmup = self.warm_up(subject)

    def load(self, subject: Subject, batch: int) -> Optional[Dict[str, Any]]:
        """Give the subject a child of its own that has loaded it; the reply, None if it failed."""
        subject.end()
        subject.child = self._nursery.spawn()
        command = dict(self._load_command(subject, batch), spawned_ns=subject.child.spawned_ns)
        return self.ask(subject, command)

    def ask_apart(self, subject: Subject, command: Dict[str, Any]) -> Dict[str, Any]:
        """The reply of a child of its own that has loaded the variant, whose crash spoils no
        result. AgentError, Cancelled."""
        child = self._nursery.spawn()
        try:
            child.ask(self._load_command(subject, 1), subject.budget_s, self._cancelled)
            return child.ask(command, subject.budget_s, self._cancelled)
        finally:
            child.kill()

    def _load_command(self, subject: Subject, batch: int) -> Dict[str, Any]:
        job = self._job
        return {
            "do": "load",
            "runtime": self._runtime.name,
            "api": self._runtime.api,
            "sys_path": list(job.sys_path),
            "path": str(self._store.path(subject.ref.sha256)),
            "threads": subject.threads,
            "batch": batch,
            "accelerator": job.accelerator,
            "xnnpack": job.xnnpack,
            "delegate_options": job.delegate_options,
            "data": self._data_file(job.data),
            "transforms": job.data.transforms if job.data else {},
            "task": job.data.task if job.data else None,
            "seed": job.settings.seed,
        }

    def _data_file(self, data: Optional[Data]) -> Optional[str]:
        if data is None:
            return None
        return data.path or str(self._store.path(data.sha256))

    def warm_up(self, subject: Subject) -> Optional[Dict[str, Any]]:
        """Until it is steady; the `warmup` field of the result, None if it failed."""
        settings = self._job.settings
        self.progress("warmup", subject.ref.name, 0, settings.warmup_s)
        command = {"do": "warmup", "seconds": settings.warmup_s, "most_s": settings.warmup_max_s}
        reply = self.ask(subject, command)
        if reply is None:
            return None
        return {key: reply[key] for key in ("n", "seconds", "p50_ns", "steady", "steady_s")}

    def _rounds(self) -> None:
        """The rounds of one launch after the other, each with its share of max_s.

        Two processes of one file differ by a percent and more for as long as they live (where
        the loader put the pages), which no number of rounds shows. Starting them takes none of
        the rounds' time.
        """
        settings = self._job.settings
        warm = [(s, s.warmup["p50_ns"]) for s in self._visited if s.warmup]
        self._launches = modes.launches(settings, [p50_ns for _, p50_ns in warm])
        for subject, p50_ns in warm:
            subject.turn = modes.turn(settings, p50_ns, len(warm) * self._launches)
        number, spent = 0, 0.0
        for launch in range(self._launches):
            if launch:
                self._launch_again(number)
            start = time.monotonic() - spent
            until = start + settings.max_s * (launch + 1) / self._launches
            number = self._rounds_of_launch(number, start, until)
            spent = time.monotonic() - start

    def _launch_again(self, number: int) -> None:
        """New processes for all; their first, and its warm-up, stay those that are told."""
        self._launch += 1
        self._first = number
        for subject in self._visited:
            if self._cancelled.is_set():
                raise Cancelled
            if subject.alive and self.load(subject, self._job.settings.batch) is not None:
                self.warm_up(subject)

    def _rounds_of_launch(self, number: int, start: float, until: float) -> int:
        """Rounds over all variants until each was measured enough, or `until`; the next number.

        The thread counts of a sweep are visited in the same rounds, so that drift of the board
        hits all of them alike. A variant that needs no more keeps its turns while others need
        theirs, so that rounds stay comparable pair by pair. The first round is always finished,
        and where further launches follow, so is every other.
        What disturbed rounds lack is measured again, in further rounds.
        """
        last = self._launch + 1 == self._launches
        told, stays_until = time.monotonic(), 0.0
        drawn: List[int] = []
        while any(subject.alive for subject in self._subjects):
            round_order = list(self._visited)
            self._order.shuffle(round_order)
            if time.monotonic() >= stays_until:  # moving to another core costs its caches
                drawn = self._core_order.sample(self._cores, len(self._cores))
                stays_until = time.monotonic() + len(round_order) * modes.STRETCH_NS / 1e9
            for turn, subject in enumerate(round_order):
                if self._cancelled.is_set():
                    raise Cancelled
                if number > self._first and (last or not turn) and self._used_up(until):
                    return number
                if subject.alive:
                    self._turn(subject, number, drawn)
            self._check()
            number += 1
            if self._all_enough(number):
                break
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                self.progress("measure", None, round(told - start, 3), self._job.settings.max_s)
        return number

    def _used_up(self, until: float) -> bool:
        samples = sum(len(s.visits) * s.turn.n for s in self._visited)
        # Each launch may have its share of the samples, as of the time.
        most = modes.MAX_SAMPLES * (self._launch + 1) // self._launches
        return time.monotonic() >= until or samples >= most

    def _turn(self, subject: Subject, number: int, drawn: List[int]) -> None:
        command = {
            "do": "run",
            "n": subject.turn.n,
            "settle": subject.turn.settle,
            "whole": self._job.settings.mode == "offline",
            # More threads than cores are the kernel's business.
            "cores": drawn[: subject.threads] if subject.threads <= len(drawn) else [],
        }
        reply = self.ask(subject, command)
        if reply is None:
            return
        subject.peak_rss_bytes = reply["peak_rss_bytes"]
        subject.cpu = reply["cpu"]
        subject.visits.append(
            Visit(
                number,
                reply["start_ns"],
                reply["span_ns"],
                subject.turn.n,
                reply["p50_ns"],
                reply["mean_ns"],
                self._launch,
                reply["idle_ns"],
            )
        )
        if subject.swept:
            return
        self._send(
            {
                "event": "samples",
                "variant": subject.ref.name,
                "round": number,
                "start_ns": reply["start_ns"],
                "ns": reply["ns"],
            }
        )

    def _all_enough(self, number: int) -> bool:
        if number < self._look_at:
            return False
        self._look_at = number + 1 + (number - self._first) // LOOK_AGAIN
        if not self._each_enough(number):
            return False
        self._judge()
        return self._each_enough(number)

    def _each_enough(self, number: int) -> bool:
        first, least = self._first, self._job.settings.min_rounds
        if (number - first) * self._launches < least:
            return False
        own = [
            (s, [v for v in s.clean(self.excluded) if v.round >= first])
            for s in self._visited
            if s.alive
        ]
        return all(
            len(modes.stretches(visits)) * self._launches >= least
            and self._measure(subject, visits, modes.enough)
            for subject, visits in own
        )

    def _measure(self, subject: Subject, visits: List[Visit], judge: Callable[..., Any]) -> Any:
        queries, spent = sum(v.n for v in visits), sum(v.span_ns for v in visits)
        settings = self._job.settings
        if subject.swept:
            settings = settings._replace(mode="latency")  # of it, p50 is all that is told
        return judge(settings, modes.medians(visits), queries, spent)

    def _judge(self) -> None:
        """Look for disturbances anew, over all rounds so far, and exclude what they touched."""
        found = disturbance.judge(
            [subject.visits for subject in self._visited if subject.alive],
            list(self._sampler.rows),
            self._sampler.start_ns,
            PERIOD_S,
        )
        self.disturbances = found.told(self._sampler.start_ns)
        self.excluded = set() if self._job.settings.mode == "sustained" else found.excluded

    def _set_flags(self, subject: Subject) -> None:
        """What a reader of the numbers must know. A cancelled variant keeps its rounds."""
        data = self._job.data
        if subject.alive and self._cancelled.is_set():
            subject.flags.append("cancelled")
            if not subject.visits:
                subject.fail(
                    AgentError("EP502", "cancelled before it was measured", "Run it again.")
                )
        if data is None or data.source == "random":
            subject.flags.append("random-inputs")
        if subject.warmup is not None and not subject.warmup["steady"]:
            subject.flags.append("no-steady-state")
        if self.disturbances:
            subject.flags.append("disturbed")
        if subject.visits:
            short = self._measure(subject, subject.clean(self.excluded), modes.shortfall)
            subject.flags += [short] if short else []
