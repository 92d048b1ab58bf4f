"""Many devices at once, each in a thread of its own: width, retries, interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from edgepack import agent, config, transport
from edgepack.errors import Abandoned, EdgepackError, unexpected
from edgepack.fleet.conversation import Conversation
from edgepack.fleet.gateways import Gateways
from edgepack.fleet.report import Collector, DeviceReport, failure_of
from edgepack.model import Event, Failure, Job, Transfer
from edgepack.transport.base import Session, Transport
from edgepack.transport.retrying import ATTEMPTS, reached

Emit = Callable[[Event], None]

_MOST = 1000
"""Devices measured at once: each has a thread or three that sleep nearly always."""

_INTERRUPTED = Failure(
    code="EP502", what="The run was interrupted before this was measured.", hint="Run it again."
)


class _Unheard(BaseException):
    """`emit` raised, which is no failure of a device: its cause ends the run."""


def run_jobs(
    jobs: Sequence[Job],
    *,
    emit: Emit,
    width: int = 32,
    connect_timeout_s: float = 10.0,
    cancel: threading.Event | None = None,
) -> Iterator[DeviceReport]:
    """Run each job on its device; yield the reports as the devices finish.

    A device that fails does not raise, not even by an error that nobody foresaw: its variants
    come back as unreachable, failed or timed out, with the reason. `emit` is called by one
    thread at a time; what it raises is raised here. KeyboardInterrupt, or
    setting `cancel`, asks every agent to stop and keeps what was measured: the reports still
    come, then KeyboardInterrupt is raised again. A second one is raised at once.

    width: devices that are connected to, and whose agents start, at once; 32 was the fastest
        on 200 devices (benchmarks/fleet.py). One that measures holds up no other.
    connect_timeout_s: for connecting and logging in, one attempt; attempts have jitter
        between them and none begins after this time.
    """
    if not jobs:
        return
    cancel = cancel or threading.Event()
    one_at_a_time = _serialized(emit)
    interrupted, patient = False, True
    pool = ThreadPoolExecutor(min(_MOST, len(jobs)), thread_name_prefix="device")
    turnstile, gateways = threading.BoundedSemaphore(width), Gateways()
    pending: set[Future[DeviceReport]] = set()
    try:
        pending = {
            pool.submit(run_job, job, one_at_a_time, connect_timeout_s, cancel, turnstile, gateways)
            for job in jobs
        }
        while pending:
            try:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as error:
                if interrupted or isinstance(error, Abandoned):
                    patient = False  # agents end themselves when this process does
                    raise
                interrupted = True
                cancel.set()
                continue
            for future in done:
                yield _outcome(future)
    finally:
        if pending:  # left early: the caller's event is only set where something is cut short
            cancel.set()
        pool.shutdown(wait=patient, cancel_futures=True)
    if interrupted:
        raise KeyboardInterrupt


def _serialized(emit: Emit) -> Emit:
    lock = threading.Lock()

    def emit_locked(event: Event) -> None:
        with lock:
            try:
                emit(event)
            except Exception as error:
                raise _Unheard from error

    return emit_locked


def _outcome(future: Future[DeviceReport]) -> DeviceReport:
    error = future.exception()
    if isinstance(error, _Unheard) and error.__cause__ is not None:
        raise error.__cause__
    return future.result()


def run_job(
    job: Job,
    emit: Emit,
    connect_timeout_s: float,
    cancel: threading.Event,
    turnstile: threading.Semaphore,
    gateways: Gateways | None = None,
) -> DeviceReport:
    """Run one job on its device, from connecting to the report. Raises no Exception of its own.

    turnstile: held from connecting until the agent runs. gateways: a place at the device's own
    is held all the time, and waited for before the turnstile.
    """
    try:
        if cancel.is_set():
            return not_run(job, None)
        with (gateways or Gateways()).place(job.device), ExitStack() as held:
            held.enter_context(turnstile)
            if cancel.is_set():
                return not_run(job, None)
            return _run_connected(job, emit, connect_timeout_s, cancel, held.close)
    except Exception as error:  # a net: no device's bug costs another one its results
        return not_run(job, _failed(job, error, emit))


def _run_connected(
    job: Job,
    emit: Emit,
    connect_timeout_s: float,
    cancel: threading.Event,
    greeted: Callable[[], None],
) -> DeviceReport:
    began = time.monotonic()
    try:
        _check_trust(job)
        link = transport.for_device(
            job.device,
            connect_timeout_s=connect_timeout_s,
            local_home=str(config.cache_dir() / "device"),
        )
        bundle = agent.bundle()  # the one that is announced is the one that is sent
        session = _session(job, link, bundle, emit, connect_timeout_s)
    except Exception as error:
        return not_run(job, _failed(job, error, emit), time.monotonic() - began)
    if link.counters.cipher:
        _tell(job, emit, "log", f"connected, encrypted with {link.counters.cipher}")
    talks, failed = _talked(job, link, session, bundle, emit, connect_timeout_s, cancel, greeted)
    failure = _INTERRUPTED if talks[-1].cancelled else None
    if failed is not None:
        failure = _failed(job, failed, emit)
    return _report(job, link, talks, failure, began)


def _talked(
    job: Job,
    link: Transport,
    session: Session,
    bundle: agent.AgentBundle,
    emit: Emit,
    connect_timeout_s: float,
    cancel: threading.Event,
    greeted: Callable[[], None],
) -> tuple[list[Conversation], Exception | None]:
    """The conversations, more than one only where pushing was cut, and what the last failed of."""
    talks: list[Conversation] = []
    while True:
        talk = Conversation(
            job,
            session,
            bundle,
            compress=link.compress,
            emit=emit,
            cancel=cancel,
            greeted=greeted,
        )
        talks.append(talk)
        failed = _hold(talk, session)
        if len(talks) == ATTEMPTS or cancel.is_set() or not _cut_while_pushing(talk, failed):
            return talks, failed
        _tell(job, emit, "log", "The link was cut; what came is kept, and it goes on from there.")
        try:
            session = _session(job, link, bundle, emit, connect_timeout_s)
        except EdgepackError:
            return talks, failed  # the cut is what happened to it


def _report(
    job: Job,
    link: Transport,
    talks: Sequence[Conversation],
    failure: Failure | None,
    began: float,
) -> DeviceReport:
    counters, last = link.counters, talks[-1]
    return DeviceReport(
        device=job.device.name,
        measurements=last.collector.measurements(failure),
        transfer=Transfer(
            device=job.device.name,
            connections=counters.connections,
            execs=counters.execs,
            sent_bytes=counters.sent_bytes,
            received_bytes=counters.received_bytes,
            blob_bytes=sum(each.blob_bytes for each in talks),
            agent_bytes=sum(each.agent_bytes for each in talks),
            seconds=(last.pushed_at or time.monotonic()) - began,
            cipher=counters.cipher,
        ),
        failure=failure,
        outputs=last.collector.outputs,
        interrupted=last.cancelled,
    )


def _check_trust(job: Job) -> None:
    """EP209 for a job without a signature where the device takes none such."""
    if job.device.allowed_signers is not None and job.trust is None:
        raise EdgepackError(
            "EP209",
            f"'{job.device.name}' takes signed packages only, and this is none",
            hint="Sign the package, and measure it with 'edgepack bench'.",
        )


def _hold(talk: Conversation, session: Session) -> Exception | None:
    """Talk the session through and end it; what it failed of, None when the agent was done."""
    try:
        talk.run()
        session.close()
    except Exception as error:
        session.kill()
        return error
    except BaseException:
        session.kill()
        raise
    return None


def _cut_while_pushing(talk: Conversation, failed: Exception | None) -> bool:
    """Whether the way to the device was lost before it had all files: nothing was measured, and
    what has come stays there, so that going on costs little. A measurement is never repeated."""
    lost = isinstance(failed, EdgepackError) and failed.code == "EP407"
    return lost and talk.has_begun and talk.pushed_at is None


def _session(
    job: Job, link: Transport, bundle: agent.AgentBundle, emit: Emit, timeout_s: float
) -> Session:
    def again(attempt: int) -> None:
        _tell(job, emit, "log", f"connecting again, attempt {attempt}")

    command = agent.command(job.device, bundle)
    return reached(lambda: link.open(command), timeout_s, again)


def _failed(job: Job, error: Exception, emit: Emit) -> Failure:
    """The error as the device's failure, told."""
    known = error if isinstance(error, EdgepackError) else unexpected(error)
    _tell(job, emit, "failed", str(known))
    return failure_of(known)


def _tell(job: Job, emit: Emit, kind: str, text: str) -> None:
    emit(Event(kind=kind, stage="device", message=text, device=job.device.name))


def not_run(job: Job, failure: Failure | None, seconds: float = 0.0) -> DeviceReport:
    """The report of a job that did not get as far as an agent; None: it was interrupted."""
    return DeviceReport(
        device=job.device.name,
        measurements=Collector(job).measurements(failure or _INTERRUPTED),
        transfer=Transfer(device=job.device.name, seconds=seconds),
        failure=failure or _INTERRUPTED,
        interrupted=failure is None,
    )
