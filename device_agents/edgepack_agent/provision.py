"""Runtimes that the host brought: wheels unpacked to `<home>/runtimes/<digest>`.

No pip, no venv, no root and no network: a wheel is a zip file whose content belongs on
`sys.path`. The host chose wheels that fit this Python; here they are unpacked with care, under
a temporary name until all is there.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from edgepack_agent.blobs import HEADROOM, BlobStore
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Blob
from edgepack_agent.provisioned import DIGEST, MANIFEST, folder

SCHEMA = "edgepack.provision/1"
MAX_BYTES = 2 << 30  # unpacked, of all wheels; the largest known set takes 0.2 GB
MAX_FILES = 50_000
_READ = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_.+!-]{1,200}\.whl")
# Where a wheel's `NAME.data/KIND/…` goes: the import path, or nowhere (scripts, headers, data).
_ROOTS = ("purelib", "platlib")

Ask = Callable[[Dict[str, Any]], Dict[str, Any]]


class Wheel(NamedTuple):
    """A wheel: its file name and its blob."""

    name: str
    blob: Blob


class Plan(NamedTuple):
    """What to put on this device."""

    digest: str
    runtime: str
    wheels: Tuple[Wheel, ...]
    owner: str
    wait_s: float

    @property
    def blobs(self) -> Tuple[Blob, ...]:
        """The wheels' blobs."""
        return tuple(wheel.blob for wheel in self.wheels)


def digest_of(wheels: Sequence[Wheel]) -> str:
    """The digest that names a set of wheels: SHA-256 over sorted lines "name sha256"."""
    lines = sorted("%s %s\n" % (wheel.name, wheel.blob.sha256) for wheel in wheels)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def read(message: Dict[str, Any]) -> Plan:
    """The plan of a `provision` message. AgentError EP501 when it is malformed."""
    try:
        wheels = tuple(_wheel(item) for item in message["wheels"])
        plan = Plan(
            str(message["digest"]),
            str(message["runtime"]),
            wheels,
            str(message["owner"]),
            float(message["wait_s"]),
        )
        if message["schema"] != SCHEMA or not wheels or digest_of(wheels) != plan.digest:
            raise ValueError("its digest is not that of its wheels")
    except (KeyError, TypeError, ValueError) as error:
        raise AgentError(
            "EP501",
            "the host sent a provision message that cannot be: %r" % (error,),
            "Use the agent that comes with this edgepack.",
        ) from None
    return plan


def _wheel(item: Dict[str, Any]) -> Wheel:
    name, sha256, size = item["name"], item["sha256"], item["bytes"]
    if not _NAME.fullmatch(name) or not DIGEST.fullmatch(sha256):
        raise ValueError("%.80r" % (item,))
    if not isinstance(size, int) or not 0 < size <= MAX_BYTES:
        raise ValueError("%s has %r bytes" % (name, size))
    return Wheel(name, Blob(sha256, size))


def compile_all(folder: str, target: str) -> None:
    """Write bytecode for all in `folder`, which is to become `target`."""
    import compileall

    compileall.compile_dir(folder, ddir=target, quiet=2, rx=re.compile(r"/tests/"), force=True)


def unpack(
    plan: Plan, store: BlobStore, home: Path, ask: Ask, try_out: Callable[[Path], None]
) -> None:
    """Unpack the plan's wheels, whose blobs are all there; `ask` has a worker do something.

    All or nothing: the folder gets its name when everything in it is written and synced, and
    `try_out` of it did not raise: what has its name is not looked at again. The wheels
    themselves are deleted before. AgentError EP406 no space, EP409 a bad wheel.
    """
    target = folder(home, plan.digest)
    part = target.with_name("%s.%d.part" % (plan.digest, os.getpid()))
    part.mkdir(mode=0o700, parents=True)
    try:
        _check_size(plan, store)
        for wheel in plan.wheels:
            _unpack_one(wheel, store.path(wheel.blob.sha256), part)
        names = [wheel.name for wheel in plan.wheels]
        (part / MANIFEST).write_text(json.dumps(names), encoding="utf-8")
        # Workers write no bytecode; compiling NumPy anew in each takes seconds on a small board.
        # A child compiles: here, one large file would keep the agent from saying that it lives.
        ask({"do": "compile", "folder": str(part), "target": str(target)})
        os.sync()
        for wheel in plan.wheels:
            store.path(wheel.blob.sha256).unlink()
        try_out(part)
        part.replace(target)
    except OSError as error:
        raise AgentError(
            "EP406",
            "the runtime cannot be unpacked: %s" % error,
            "Free some space, or point EDGEPACK_AGENT_HOME at a larger disk.",
        ) from None
    finally:
        shutil.rmtree(str(part), ignore_errors=True)


def _check_size(plan: Plan, store: BlobStore) -> None:
    """Bounds on what the wheels say they hold; `_copy` holds them to it."""
    size = files = 0
    for wheel in plan.wheels:
        with _opened(wheel, store.path(wheel.blob.sha256)) as archive:
            size += sum(entry.file_size for entry in archive.infolist())
            files += len(archive.infolist())
    if size > MAX_BYTES or files > MAX_FILES:
        raise _bad(plan.wheels[0], "the wheels hold %d bytes in %d files" % (size, files))
    needed, free = 2 * size + HEADROOM, store.free_bytes()  # twice: the bytecode beside
    if needed > free:
        raise AgentError(
            "EP406",
            "the runtime needs %d bytes and %d are free" % (needed, free),
            "Free some space, or point EDGEPACK_AGENT_HOME at a larger disk.",
        )


def _opened(wheel: Wheel, path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(str(path))
    except zipfile.BadZipFile as error:
        raise _bad(wheel, str(error)) from None


def _unpack_one(wheel: Wheel, path: Path, part: Path) -> None:
    seen = set()
    with _opened(wheel, path) as archive:
        for entry in archive.infolist():
            place = place_of(wheel, entry)
            if place is None:
                continue
            if tuple(place) in seen:
                raise _bad(wheel, "%.80r is there twice" % entry.filename)
            seen.add(tuple(place))
            _copy(wheel, archive, entry, part.joinpath(*place))


def place_of(wheel: Wheel, entry: zipfile.ZipInfo) -> Optional[List[str]]:
    """Where an entry goes, as path parts; None when it goes nowhere.

    AgentError EP409 for one that leads out of the folder, and for links and devices.
    """
    name = entry.filename
    parts = list(PurePosixPath(name).parts)
    mode = entry.external_attr >> 16
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in name:
        raise _bad(wheel, "the name %.80r leads out of it" % name)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad(wheel, "%.80r is no plain file" % name)
    if name.endswith("/") or not parts:
        return None
    if parts[0].endswith(".data"):
        return parts[2:] if len(parts) > 2 and parts[1] in _ROOTS else None
    return parts


def _copy(wheel: Wheel, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = entry.file_size
    try:
        with archive.open(entry) as source, place.open("wb") as copy:
            for piece in iter(lambda: source.read(_READ), b""):
                left -= len(piece)
                if left < 0:
                    raise _bad(wheel, "%.80r is larger than it says" % entry.filename)
                copy.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise _bad(wheel, str(error)) from None


def _bad(wheel: Wheel, why: str) -> AgentError:
    return AgentError(
        "EP409",
        "the wheel %s is not unpacked: %s" % (wheel.name, why),
        "Provision again; if it stays so, report the wheel to whoever publishes it.",
    )
