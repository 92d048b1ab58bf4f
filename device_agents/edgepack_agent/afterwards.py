"""What follows the rounds, a variant at a time: outputs for parity, quality, operations."""

import threading
from typing import Any, Callable, Dict, List

from edgepack_agent.child import Cancelled
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Job
from edgepack_agent.subject import Subject

# Of timing operations, the best first: method and the flag of what it gives.
METHODS = (("profiler", None), ("prefixes", "ops-estimated"), ("rounded", "ops-rounded"))


class Afterwards:
    """Uses what `bench` offers: its way to load a variant and to ask it."""

    def __init__(
        self,
        job: Job,
        cancelled: threading.Event,
        send: Callable[[Dict[str, Any]], None],
        bench: Any,
    ) -> None:
        self._job = job
        self._cancelled = cancelled
        self._send = send
        self._bench = bench

    def run(self, subjects: List[Subject]) -> None:
        """Outputs, quality and profile of every variant that was measured. Cancelled."""
        for number, subject in enumerate(subjects):
            if not subject.alive:
                continue
            self._stop_if_cancelled()
            self._bench.progress("quality", subject.ref.name, number, len(subjects))
            self._outputs_and_quality(subject)
            if self._job.settings.profile_ops and subject.alive:
                self._profile(subject)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _outputs_and_quality(self, subject: Subject) -> None:
        settings, data = self._job.settings, self._job.data
        if data is None:
            return
        if settings.batch > 1 and self._bench.load(subject, 1) is None:
            return  # batches are for time alone: outputs are judged sample by sample
        self._outputs(subject)
        if data.task != "none" and subject.alive:
            self._quality(subject, data.task)

    def _outputs(self, subject: Subject) -> None:
        """One event's worth for parity, or event after event for all that the host judges."""
        settings = self._job.settings
        wanted = max(settings.parity_samples, settings.output_samples)
        first = 0
        while first < wanted and subject.alive:
            self._stop_if_cancelled()
            command = {"do": "outputs", "first": first, "n": wanted - first}
            reply = self._bench.ask(subject, command)
            if reply is None or not reply["sent"]:
                return
            first += reply["sent"]
            wanted = settings.output_samples

    def _profile(self, subject: Subject) -> None:
        """Time by operation: by the runtime's profiler, or else estimated by cutting the graph."""
        reasons = []
        for method, flag in METHODS:
            try:
                found = self._bench.ask_apart(subject, {"do": "profile", "method": method})
            except AgentError as error:
                reasons.append(error.what)
                continue
            fields = {key: found[key] for key in ("runs", "total_ns", "estimated", "ops")}
            self._send(dict(fields, event="ops", variant=subject.ref.name))
            subject.flags += [flag] if flag else []
            break
        else:
            subject.flags.append("ops-unprofiled")
        if reasons:
            self._bench.warn(subject, "; ".join(dict.fromkeys(reasons)))

    def _quality(self, subject: Subject, task: str) -> None:
        command = {"do": "quality", "task": task, "n": self._job.settings.quality_samples}
        reply = self._bench.ask(subject, command)
        if reply is None:
            return
        subject.quality = reply["quality"]
        if subject.quality is None:
            subject.flags.append("non-finite-outputs")
