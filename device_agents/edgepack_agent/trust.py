"""Whether a package may be measured: who signed it, what it lists, and whether it is an old one."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, NoReturn, Optional

from edgepack_agent.blobs import BlobStore
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Job
from edgepack_agent.provisioned import own_signers

NAMESPACE = "edgepack-package"
ACCEPTED = "accepted.json"
_LIMIT_S = 60.0  # a second, even emulated; a board busy with its swap takes longer


def _refuse(what: str, code: str = "EP209") -> NoReturn:
    raise AgentError(
        code,
        what,
        "Bring the newest release: edgepack package sign DIR --key FILE; edgepack bench DIR",
    )


def check(home: Path, store: BlobStore, job: Job) -> Dict[str, Any]:
    """What was verified of the job's package, for the report.

    AgentError EP209 for a package that is not signed as it must be or does not list the job's
    files, EP210 for one older than the newest accepted.
    """
    own = own_signers(home)
    if job.trust is None:
        _refuse("this device takes signed packages only")
    manifest = store.path(job.trust.manifest).read_bytes()
    signers = own or store.path(job.trust.signers)
    signer = _signer(manifest, store.path(job.trust.signature), signers)
    if own and signer is None:
        _refuse("this device has no ssh-keygen that verifies signatures")
    try:
        document = json.loads(manifest.decode("utf-8"))
        files, release = document["files"], document["release"]
        name, counter = release["name"], release["counter"]
        if not isinstance(name, str) or type(counter) is not int:
            raise ValueError("release")
        wanted = {variant.name + ".tflite": variant.sha256 for variant in job.variants}
        if job.data is not None:
            wanted["eval.npz"] = job.data.sha256
        strange = sorted(file for file in wanted if files.get(file) != wanted[file])
    except (ValueError, KeyError, TypeError, AttributeError):
        _refuse("the signed manifest is none of a release")
    if strange:
        _refuse("%s is not what the signed manifest lists" % strange[0])
    _count(home / ACCEPTED, name, counter, job.trust.allow_rollback and not own)
    return {"signer": signer, "release": name, "counter": counter, "own_signers": bool(own)}


def _signer(manifest: bytes, signature: Path, signers: Path) -> Optional[str]:
    """Who signed; None where no ssh-keygen here (8.2 or newer) can tell. AgentError EP209."""
    keygen = shutil.which("ssh-keygen")
    # An older one does not know -Y. Asked before it sees anything that came from outside.
    if keygen is None or b"option" in _run([keygen, "-Y", "verify"], b"").stderr:
        return None
    files = ["-f", str(signers), "-s", str(signature)]
    found = _run([keygen, "-Y", "find-principals", *files], b"")
    signer = found.stdout.decode("utf-8", "replace").split("\n")[0].split(",")[0].strip()
    if found.returncode or not signer:
        _refuse("the package is not signed by an allowed signer")
    verify = [keygen, "-Y", "verify", "-n", NAMESPACE, "-I", signer, *files]
    if _run(verify, manifest).returncode:
        _refuse("the package's signature does not hold")
    return signer


def _run(command: Any, data: bytes) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _refuse("the signature cannot be verified: %s" % error)


def _count(state: Path, name: str, counter: int, allow_rollback: bool) -> None:
    """Remember the newest release of each name. Called under the lease."""
    known: Dict[str, int] = {}
    try:
        if state.exists():
            known = json.loads(state.read_text(encoding="utf-8"))
        newest = int(known.get(name, -1))
    except (ValueError, TypeError, AttributeError):
        _refuse("%s on the device is damaged: restore or delete it" % state, "EP210")
    if counter < newest and not allow_rollback:
        _refuse(
            "release %d of '%.80s' is older than %d, which was accepted here"
            % (counter, name, newest),
            "EP210",
        )
    if counter > newest:
        known[name] = counter
        part = state.with_name(ACCEPTED + ".part")
        with open(str(part), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(state)
