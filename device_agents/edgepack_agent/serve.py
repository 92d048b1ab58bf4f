"""One session with a host: hello, job, blobs, environment, measuring, results, done.

What a push does not need is imported where it is first used: on a board, compiling this agent's
modules takes a good part of each start.
"""

import hashlib
import os
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import edgepack_agent
from edgepack_agent import cache, memory, probes, protocol, provisioned
from edgepack_agent import job as jobs
from edgepack_agent.blobs import BlobStore, agent_home
from edgepack_agent.child import Cancelled, Nursery
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Job
from edgepack_agent.lease import TTL_S, Lease, Lost
from edgepack_agent.pulse import Pulse

PROBE_S = 120.0  # importing NumPy and a runtime takes 20 s on a slow board with a cold disk
CLOCK_STEP_S = 1.0  # NTP slews by half a millisecond a second; more than this is a step
STORE_S = 60.0  # beside the job's own time: a slow card taking and syncing the blobs

_LOST = AgentError(
    "EP411",
    "this session stood still for so long that another one has taken the device",
    "Run it again; a board that stands still is short of memory or has a bad card.",
)


class Session:
    """What happens between `hello` and `done`."""

    def __init__(
        self, writer: protocol.Writer, inbox: protocol.Inbox, nursery: Nursery, pulse: Pulse
    ) -> None:
        self.send = writer.send
        self.inbox = inbox
        self.nursery = nursery
        self._pulse = pulse

    def run(self) -> None:
        """Do what the host's first message asks. AgentError when it fails; Cancelled."""
        message = self._first()
        if message["type"] == "job":
            self._job(jobs.read(message))
            return
        from edgepack_agent import errands

        if message["type"] == "doctor":
            errands.examine(self, message)
        elif message["type"] == "push":
            errands.keep(self, message)
        elif message["type"] == "calibrate":
            errands.calibrate(self, message)
        else:
            errands.bring(self, message)

    def _first(self) -> Dict[str, Any]:
        """The host's errand, after any number of `ping`s, by which it times the round trip."""
        while True:
            message = self._message("job", "doctor", "provision", "push", "calibrate", "ping")
            if message["type"] != "ping":
                return message
            self.send({"event": "pong", "n": message.get("n"), "time": time.time()})

    def _job(self, job: Job) -> None:
        probes.check(job.probes)
        home = agent_home()
        store = BlobStore(home, job.settings.cache_bytes)
        job = job._replace(sys_path=provisioned.resolve(home, job.sys_path))
        limit = memory.limit_for(job.memory_limit_bytes, job.accelerator)
        self.nursery.memory_limit = limit
        work_s = job.settings.timeout_s + STORE_S + (job.settings.stable_s or 0.0)
        with self.leased(home, job.owner, job.settings.wait_s, work_s) as lease:
            self.receive(job.blobs, store)
            self.end_after(work_s)
            trusted = self._trusted(home, store, job)
            self._measure(job, store, lease, trusted)

    def _trusted(self, home: Path, store: BlobStore, job: Job) -> Optional[Dict[str, Any]]:
        """What was verified of the package. AgentError EP209, EP210."""
        if job.trust is None and provisioned.own_signers(home) is None:
            return None
        from edgepack_agent import trust

        return trust.check(home, store, job)

    def _measure(
        self, job: Job, store: BlobStore, lease: Lease, trusted: Optional[Dict[str, Any]]
    ) -> None:
        from edgepack_agent import cores, results, sampler
        from edgepack_agent.measure import Bench

        if job.settings.stable_s is not None:
            from edgepack_agent import settle

            settle.wait(job.settings.stable_s, self.inbox.cancelled, self._say)
        wall_clock = _wall_clock_offset()
        before = probes.environment(job.probes)
        candidates = self.candidates(job.runtimes, job.sys_path)
        held = {"token": lease.token, "owner": job.owner}
        environment = dict(before, runtimes=candidates, lease=held)
        environment["provisioned"] = provisioned.packages(job.sys_path)
        environment["trust"] = trusted
        environment["cores"] = cores.fastest(job.accelerator)
        environment["memory_limit_bytes"] = self.nursery.memory_limit or None
        if job.device_data is not None:
            environment["data"] = found = self._board_data(job)
            data = jobs.Data(found["sha256"], found["task"], found["samples"], {}, "dataset")
            job = job._replace(data=data._replace(path=job.device_data))
        self.send({"event": "environment", "environment": environment})
        runtime = results.choose(candidates, job.runtimes)
        bench = Bench(
            job,
            store,
            runtime,
            self.nursery,
            self.send,
            self.inbox.cancelled,
            self.inbox.check,
            environment["cores"],
        )
        subjects = bench.run()
        after = probes.state(job.probes)
        flags = probes.flags(job.probes, before, after) + results.runtime_flags(job, runtime)
        flags += sampler.flags(bench.sampler.rows)
        if trusted and trusted["signer"] is None:
            flags.append("signature-unchecked")
        if job.device_data is not None:
            flags.append("device-data")
        if abs(_wall_clock_offset() - wall_clock) > CLOCK_STEP_S:
            flags.append("clock-stepped")
        lease.renew()  # an agent that was stopped meanwhile must not speak for the board
        self.send(sampler.time_line(bench.sampler, bench.disturbances))
        for subject in subjects:
            self.send(results.result(job, runtime, subject, bench.excluded, flags))
        self.send({"event": "state", "state": after})

    def _board_data(self, job: Job) -> Dict[str, Any]:
        """The evaluation data that are here already. AgentError EP301, EP302."""
        child = self.nursery.spawn()
        try:
            command = {"do": "data", "path": job.device_data, "sys_path": list(job.sys_path)}
            reply = child.ask(command, job.settings.timeout_s, self.inbox.cancelled)
            return {key: reply[key] for key in ("path", "sha256", "bytes", "samples", "task")}
        finally:
            child.kill()

    def _message(self, *wanted: str) -> Dict[str, Any]:
        message = self.inbox.get()
        if message.get("type") == "cancel":
            raise Cancelled
        if message.get("type") not in wanted:
            raise AgentError(
                "EP501",
                "the host sent a %.40r message where '%s' was due"
                % (message.get("type"), " or ".join(wanted)),
                "Use the agent that comes with this edgepack.",
            )
        return message

    @contextmanager
    def leased(self, home: Path, owner: str, wait_s: float, work_s: float) -> Iterator[Lease]:
        """The board for this session alone. AgentError EP410 when it stays another's."""

        def waiting(news: Optional[str]) -> None:
            if self.inbox.cancelled.is_set():
                raise Cancelled
            if news:
                self._say(news)

        lease = Lease(home, owner)
        began = time.monotonic()
        lease.acquire(wait_s, work_s, waiting)
        waited = round(time.monotonic() - began, 3)
        self.send({"event": "lease", "token": lease.token, "waited_s": waited, "ttl_s": TTL_S})
        self._pulse.keep(lease)
        try:
            yield lease
        finally:
            self._pulse.keep(None)
            lease.release()

    def end_after(self, seconds: float) -> None:
        """End this agent then, whatever it is doing: a board must not stay taken."""
        self._pulse.end_after(seconds)

    def _say(self, message: str) -> None:
        self.send({"event": "log", "level": "info", "message": message})

    def receive(self, blobs: Sequence[jobs.Blob], store: BlobStore) -> None:
        """Say what is missing and take it in, blob by blob."""
        missing = store.missing(blobs)
        freed = store.make_room(blobs, missing)
        if freed:
            self._say("removed %d bytes of unused files from the cache" % freed)
        self.send(
            {
                "event": "need",
                "blobs": [{"sha256": blob.sha256, "have": have} for blob, have in missing],
                "free_bytes": store.free_bytes(),
            }
        )
        waiting = {blob.sha256: blob for blob, _ in missing}
        for blob, have in missing:
            if have == blob.bytes:
                self._stored(store, waiting.pop(blob.sha256))
        while waiting:
            chunk = self._message("chunk")
            wanted = waiting.get(str(chunk.get("sha256")))
            if wanted is None:
                raise AgentError(
                    "EP501",
                    "a chunk of %.80r, which is not among the missing blobs"
                    % (chunk.get("sha256"),),
                    "Use the agent that comes with this edgepack.",
                )
            if store.append(wanted, chunk.get("offset"), chunk["data"]) == wanted.bytes:
                self._stored(store, waiting.pop(wanted.sha256))
        store.sync()

    def _stored(self, store: BlobStore, blob: jobs.Blob) -> None:
        store.finish(blob)
        self.send({"event": "stored", "sha256": blob.sha256, "bytes": blob.bytes})

    def candidates(
        self, wanted: Sequence[jobs.RuntimeSpec], sys_path: Sequence[str]
    ) -> List[Dict[str, Any]]:
        """The runtimes as found here, up to and with the first that can be used."""
        from edgepack_agent import runtimes

        found: List[Dict[str, Any]] = []
        for name, api in dict.fromkeys((spec.name, spec.api) for spec in wanted):
            child = self.nursery.spawn()
            command = {"do": "probe", "runtime": name, "api": api, "sys_path": list(sys_path)}
            try:
                reply = child.ask(command, PROBE_S, self.inbox.cancelled)
                found.append({key: reply[key] for key in ("name", "api", "version", "unusable")})
            except AgentError as error:
                unusable = {"version": runtimes.version(name), "unusable": error.what}
                found.append(dict(unusable, name=name, api=api))
            finally:
                child.kill()
            if found[-1]["unusable"] is None:
                break
        return found


def _wall_clock_offset() -> float:
    """By how much the clock on the wall, which can be set, is ahead of the one that cannot."""
    return time.time() - time.monotonic()


def _hello(archive: str) -> Dict[str, Any]:
    return {
        "event": "hello",
        "protocol": protocol.PROTOCOL,
        "agent": edgepack_agent.__version__,
        "digest": hashlib.sha256(Path(archive).read_bytes()).hexdigest(),
        "python": sys.version.split()[0],
        "arch": os.uname().machine,
        "pid": os.getpid(),
        "time": time.time(),
    }


def _restrain() -> None:
    """Private files, no core files, and a step behind the board's own work.

    One step only: an idle board measures the same, and a busy one is flagged in any case.
    """
    os.umask(0o77)
    os.nice(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(archive: str) -> int:
    """Serve one session over standard input and output; the process's exit code."""
    # Ctrl-C on the host's terminal reaches the local agent too; the host says `cancel`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _restrain()
    started = time.monotonic()
    writer = protocol.Writer(protocol.take_stdout())
    nursery = Nursery(archive)

    finished = threading.Event()

    def host_gone() -> None:
        if not finished.is_set():
            nursery.kill_all()
            os._exit(protocol.HOST_GONE)

    def board_lost() -> None:
        writer.send(dict(_LOST.fields(), event="error"), last=True)
        nursery.kill_all()
        os._exit(1)

    inbox = protocol.Inbox(0, host_gone)
    pulse = Pulse(writer, board_lost, host_gone)
    code = 0
    try:
        cache.touch(Path(archive))
        writer.send(_hello(archive))
        code = _serve(Session(writer, inbox, nursery, pulse), writer)
        finished.set()  # the host may hang up as soon as it has read the last event
        writer.send(
            {
                "event": "done",
                "seconds": round(time.monotonic() - started, 3),
                "cancelled": inbox.cancelled.is_set(),
            },
            last=True,
        )
    except BrokenPipeError:
        code = protocol.HOST_GONE
    finally:
        nursery.kill_all()
    return code


def _serve(session: Session, writer: protocol.Writer) -> int:
    try:
        session.run()
    except Cancelled:
        return 0
    except Lost:
        writer.send(dict(_LOST.fields(), event="error"))
        return 1
    except AgentError as error:
        writer.send(dict(error.fields(), event="error"))
        return 1
    except BrokenPipeError:
        raise
    except Exception as error:  # a bug: the host gets a sentence, the log the traceback
        import traceback

        traceback.print_exc()
        what = "the agent failed: %s: %s" % (type(error).__name__, error)
        hint = "Please report it, with the agent's log."
        writer.send({"event": "error", "code": "EP502", "what": what, "hint": hint})
        return 1
    return 0
