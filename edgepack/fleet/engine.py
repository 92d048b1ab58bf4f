"""The same fan-out beyond one machine: through any `concurrent.futures` executor, dask's by URL.

A task is one job, run where the executor puts it by `runner.run_job`: that machine connects to
the device, so its keys, OpenSSH configuration and registered gateways are what count there. The
files travel with the task. A task whose machine dies may be run again elsewhere: its results
were never heard, and its agent ends with the connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgepack import __version__, agent, codec
from edgepack.errors import EdgepackError
from edgepack.fleet.report import DeviceReport
from edgepack.fleet.runner import Emit, not_run, run_job
from edgepack.model import Event, Failure, Job

_CONNECT_S = 10.0
_POLL_S = 0.5
_IN_PASSING = ("progress", "samples")  # of no use when they come all at once at the end


class Stop(Protocol):
    """Said once, heard on every machine. A `threading.Event` is one within a process."""

    def set(self) -> None:
        """Say it."""

    def is_set(self) -> bool:  # pyright: ignore[reportReturnType]
        """Whether it was said."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An executor, and how it is given bytes that many tasks need.

    share: what to pass to a task in place of the bytes; it arrives there as bytes. stop: travels
    with a task and ends its job where it runs; None: a job under way is finished.
    """

    executor: Executor
    share: Callable[[bytes], Any] = lambda content: content
    stop: Stop | None = None


@contextlib.contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The engine of "dask://HOST:PORT". EP105 for another URL or without the extra; EP401."""
    scheme, _, address = url.partition("://")
    if scheme != "dask" or not address:
        raise EdgepackError(
            "EP105",
            f"--engine '{url}' is not known.",
            hint="Name dask's scheduler: dask://HOST:PORT",
        )
    try:
        from distributed import Client
        from distributed import Event as SharedEvent
    except ImportError as error:
        raise EdgepackError(
            "EP105",
            "The engine dask:// needs the package 'distributed'.",
            hint="Install it here and on the workers: pip install 'edgepack[dask]'",
        ) from error
    try:
        client = Client(f"tcp://{address}", timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EdgepackError(
            "EP401",
            f"dask's scheduler does not answer: {error}",
            where=address,
            hint="Start one: dask scheduler; and workers: dask worker HOST:PORT --nthreads 32",
        ) from error
    with client:
        # Its methods are typed as coroutines too; those of a synchronous client are none.
        stop: Any = SharedEvent(client=client)
        # A task that does nothing but hold the bytes: made again where its machine dies.
        yield Engine(
            executor=client.get_executor(pure=False),
            share=lambda content: client.submit(bytes, content, pure=True),
            stop=stop,
        )


def run_jobs_on(
    engine: Engine,
    jobs: Sequence[Job],
    *,
    emit: Emit,
    connect_timeout_s: float = 10.0,
    cancel: threading.Event | None = None,
) -> Iterator[DeviceReport]:
    """As `runner.run_jobs`, on the engine's machines. EP105 for a device that is this machine.

    Events of a device are told when its job is over. Setting `cancel` takes back the jobs that
    no machine has begun, and ends those under way as a Ctrl-C beside them would.
    """
    for job in jobs:
        if job.device.transport == "local":
            raise EdgepackError(
                "EP105",
                f"Device '{job.device.name}' is this machine, and --engine measures from others.",
                hint="Leave it out, or measure it in a run of its own.",
            )
    shared: dict[str, Any] = {}
    pending = {
        engine.executor.submit(
            work,
            codec.to_json(job),
            _contents(job, engine, shared),
            _stamp(),
            connect_timeout_s,
            engine.stop,
        ): job
        for job in jobs
    }
    while pending:
        done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            yield _outcome(future, pending.pop(future), emit)
        if cancel is not None and cancel.is_set():
            _end(engine, pending)


def _end(engine: Engine, pending: Iterable[Future[Any]]) -> None:
    """No job is begun any more. dask would take back also what runs, and lose its report."""
    if engine.stop is not None:
        engine.stop.set()
        return
    for future in pending:
        future.cancel()


def _contents(job: Job, engine: Engine, shared: dict[str, Any]) -> Mapping[str, Any]:
    """The job's files by digest, each shared once among all jobs. EP208 when one is gone."""
    for blob in job.blobs:
        if blob.sha256 in shared:
            continue
        try:
            shared[blob.sha256] = engine.share(Path(blob.path).read_bytes())
        except OSError as error:
            raise EdgepackError(
                "EP208",
                f"A file of the package cannot be read: {error}",
                where=blob.path,
                hint="Build the package again.",
            ) from error
    return {blob.sha256: shared[blob.sha256] for blob in job.blobs}


def _stamp() -> str:
    """What must be the same on every machine: edgepack and its agent."""
    return f"{__version__} with agent {agent.bundle().sha256[:12]}"


def work(
    document: Any,
    contents: Mapping[str, bytes],
    stamp: str,
    connect_timeout_s: float,
    stop: Stop | None,
) -> tuple[DeviceReport, list[Event]]:
    """One job on the machine that this runs on: its report, and the events worth telling."""
    job = codec.from_json(Job, document)
    if stamp != _stamp():
        return not_run(job, _other_version(stamp)), []
    if stop is not None and stop.is_set():
        return not_run(job, None), []
    told: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        for sha256, content in contents.items():
            (Path(folder) / sha256).write_bytes(content)
        here = [
            dataclasses.replace(blob, path=str(Path(folder) / blob.sha256)) for blob in job.blobs
        ]
        job = dataclasses.replace(job, blobs=tuple(here))
        with _heard(stop) as cancel:
            report = run_job(
                job,
                lambda event: told.append(event) if event.kind not in _IN_PASSING else None,
                connect_timeout_s,
                cancel,
                threading.BoundedSemaphore(),
            )
    return report, told


@contextlib.contextmanager
def _heard(stop: Stop | None) -> Iterator[threading.Event]:
    """An event that is set within half a second of `stop`."""
    cancel, over = threading.Event(), threading.Event()

    def listen(stop: Stop) -> None:
        while not over.wait(_POLL_S):
            if stop.is_set():
                cancel.set()
                return

    if stop is not None:
        threading.Thread(target=listen, args=(stop,), daemon=True).start()
    try:
        yield cancel
    finally:
        over.set()


def _other_version(stamp: str) -> Failure:
    return Failure(
        code="EP105",
        what=f"A worker of the engine runs edgepack {_stamp()}, and this machine {stamp}.",
        hint="Install the same edgepack on both.",
    )


def _outcome(
    future: Future[tuple[DeviceReport, list[Event]]], job: Job, emit: Emit
) -> DeviceReport:
    try:
        report, told = future.result()
    except CancelledError:
        return not_run(job, None)
    except Exception as error:  # the engine's own, of any kind: its workers died, it lost them
        failure = Failure(
            code="EP407",
            what=f"The engine lost the job: {type(error).__name__}: {str(error)[:300]}",
            hint="Look at the engine's workers, then: edgepack run --resume latest",
        )
        emit(Event(kind="failed", stage="device", message=failure.what, device=job.device.name))
        return not_run(job, failure)
    for event in told:
        emit(event)
    return report
