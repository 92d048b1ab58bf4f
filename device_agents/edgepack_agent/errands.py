"""What a host asks for beside a job: how this device is, taking files or a runtime in, ranges."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from edgepack_agent import doctor, job, provision, provisioned
from edgepack_agent.blobs import BlobStore, agent_home
from edgepack_agent.errors import AgentError

if TYPE_CHECKING:
    from edgepack_agent.serve import Session

PROBE_S = 120.0  # importing NumPy and a runtime takes 20 s on a slow board with a cold disk
KEEP_S = 900.0  # the longest that pushed files may take to arrive and be synced
UNPACK_S = 900.0  # a Pi Zero takes minutes to unpack and compile NumPy


def examine(session: "Session", message: Dict[str, Any]) -> None:
    """Answer a `doctor` message; imports nothing while another session measures."""
    names, probe_names, sys_path = doctor.read(message)
    home = agent_home()
    missing = None
    try:
        sys_path = list(provisioned.resolve(home, sys_path))
    except AgentError as error:
        missing, sys_path = error.what, []
    busy = None
    facts: Dict[str, Any] = {}
    ask: Optional[doctor.Ask] = _asker(session, sys_path)
    try:
        BlobStore(home)  # makes the home, or says why it cannot be
        with session.leased(home, "doctor", 0.0, PROBE_S):
            facts = doctor.examine(names, probe_names, home, ask)
    except AgentError as error:
        if error.code == "EP410":
            busy, ask = error.what, None
        elif error.code != "EP406" or not home.is_dir():
            raise
        # A full disk holds no lease, and is just what a person must be told of.
        facts = doctor.examine(names, probe_names, home, ask)
    session.send({"event": "facts", "facts": dict(facts, busy=busy, missing_runtime=missing)})


def bring(session: "Session", message: Dict[str, Any]) -> None:
    """Take in and unpack what a `provision` message announces, and see that it works."""
    plan = provision.read(message)
    home = agent_home()
    provisioned.refuse_code(home, "a runtime from the host")
    with session.leased(home, plan.owner, plan.wait_s, UNPACK_S):
        provisioned.remove_unfinished(home)
        fresh = not provisioned.folder(home, plan.digest).is_dir()
        store = BlobStore(home)
        session.receive(plan.blobs if fresh else (), store)
        if fresh:
            ask = _asker(session, [], UNPACK_S)
            provision.unpack(plan, store, home, ask, partial(_try_out, session, plan.runtime))
            provisioned.remove_unused(home, plan.digest)
    session.send({"event": "provisioned", "digest": plan.digest, "fresh": fresh})


def keep(session: "Session", message: Dict[str, Any]) -> None:
    """Take in the files of a `push` message, for a job to come. Nothing of them is opened."""
    push = job.read_push(message)
    home = agent_home()
    with session.leased(home, push.owner, push.wait_s, KEEP_S):
        session.receive(push.blobs, BlobStore(home))


def calibrate(session: "Session", message: Dict[str, Any]) -> None:
    """Answer a `calibrate` message: what the data here are, and ranges that they give a model."""
    asked = job.read_calibration(message)
    home = agent_home()
    _refuse_unsigned(home)
    store = BlobStore(home)
    sys_path = list(provisioned.resolve(home, asked.sys_path))
    work_s = asked.timeout_s + PROBE_S
    with session.leased(home, asked.owner, asked.wait_s, work_s) as lease:
        session.receive(asked.blobs, store)
        session.end_after(work_s)
        data = _asker(session, sys_path, asked.timeout_s)({"do": "survey", "path": asked.data})
        found = {key: data[key] for key in ("sha256", "bytes", "split", "samples")}
        answer: Dict[str, Any] = {"samples": 0, "runtime": None, "ranges": []}
        if asked.model is not None:
            answer = _ranges(session, asked, store, sys_path, found["split"])
        lease.renew()  # an agent that was stopped meanwhile must not speak for the board
        session.send(dict(answer, event="calibrated", data=found))


def _ranges(
    session: "Session",
    asked: job.Calibration,
    store: BlobStore,
    sys_path: List[str],
    split: str,
) -> Dict[str, Any]:
    from edgepack_agent import results

    runtime = results.choose(session.candidates(asked.runtimes, sys_path), asked.runtimes)
    command = {
        "do": "calibrate",
        "model": str(store.path(str(asked.model))),
        "path": asked.data,
        "split": split,
        "tensors": asked.tensors,
        "samples": asked.samples,
        "seed": asked.seed,
        "runtime": runtime.name,
        "threads": asked.threads,
    }

    def progress(event: Dict[str, Any]) -> None:
        session.send(dict(event, stage="calibrate", variant=None))

    reply = _asker(session, sys_path, asked.timeout_s, progress)(command)
    return {
        "samples": reply["samples"],
        "runtime": {"name": runtime.name, "version": runtime.version},
        "ranges": reply["ranges"],
    }


def _refuse_unsigned(home: Path) -> None:
    if provisioned.own_signers(home):
        raise AgentError(
            "EP209",
            "this device takes signed packages only, and a model to calibrate is none",
            "Calibrate on a board that is not strict, or on the host.",
        )


def _try_out(session: "Session", name: str, folder: Path) -> None:
    """Import what was unpacked. AgentError EP405 when that fails."""
    found = doctor.runtime(name, _asker(session, [str(folder)]))
    if found["unusable"] is not None:
        raise AgentError(
            "EP405",
            "%s was brought and does not work here: %s" % (name, found["unusable"]),
            "Try another version: edgepack device provision NAME --runtime NAME==VERSION",
        )


def _asker(
    session: "Session",
    sys_path: List[str],
    limit_s: float = PROBE_S,
    on_event: Optional[Callable[[Dict[str, Any]], None]] = None,
) -> doctor.Ask:
    """Has a child do what may take it down, or long."""

    def ask(command: Dict[str, Any]) -> Dict[str, Any]:
        child = session.nursery.spawn()
        try:
            command = dict(command, sys_path=sys_path)
            return child.ask(command, limit_s, session.inbox.cancelled, on_event)
        finally:
            child.kill()

    return ask
