"""The lease on the board: one session measures at a time, and a dead owner's lease ends.

`<home>/lease` says who holds it: a JSON object, replaced whole and synced, whose `token` only
grows (a fencing token: who finds another one than its own has lost the board). `<home>/lock`
is locked (flock) for the moment in which either is read or changed, and holds the time until
which the holder has renewed its lease. Times are of the clock since boot, which nobody can
set, and belong to one boot of the board.
"""

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from edgepack_agent.errors import AgentError, unwritable

TTL_S = 30.0  # a holder that has not renewed for so long has lost the board
_POLL_S = 0.2

Record = Dict[str, Any]


class Lost(Exception):
    """Another session holds the board: whatever this one still measures is not to be trusted."""


class Lease:
    """The board's lease, for one session of this process."""

    def __init__(self, home: Path, owner: str) -> None:
        self.token = 0
        self._home = home
        self._owner = owner

    def acquire(self, wait_s: float, work_s: float, check: Callable[[Optional[str]], None]) -> None:
        """Take the lease, waiting up to `wait_s` for another owner.

        work_s: how long the holder expects to need it at most, for others to read. `check` is
        called while it waits, first with a sentence and then with None; it may raise.
        Raises AgentError EP410 when it stays taken, EP406 when the disk is full.
        """
        deadline = time.monotonic() + wait_s
        said = False
        while True:
            with self._locked() as lock:
                holder = self._holder(lock)
                if holder is None:
                    try:
                        self._take(lock, work_s)
                    except OSError as error:
                        raise unwritable("the lease", error) from None
                    return
            left = max(0.0, float(holder.get("ends", 0)) - now())
            if time.monotonic() >= deadline:
                raise AgentError(
                    "EP410",
                    "the device is measured by %s, free in %.0f s at the latest"
                    % (holder.get("owner"), left + 1),
                    "Try again then; run, bench and push wait longer with --wait SECONDS.",
                )
            check(None if said else "waiting for %s to finish" % holder.get("owner"))
            said = True
            time.sleep(_POLL_S)

    def renew(self) -> None:
        """Hold it for TTL_S from now. Lost when it is another's."""
        with self._locked() as lock:
            if self._record().get("token") != self.token:
                raise Lost
            _write_expiry(lock, now() + TTL_S)

    def release(self) -> None:
        """Give it back; harmless when it was lost."""
        with self._locked() as lock:
            if self._record().get("token") == self.token:
                _write_expiry(lock, 0.0)

    # ------------------------------------------------------------ the files

    @contextmanager
    def _locked(self) -> Iterator[int]:
        fd = os.open(str(self._home / "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # held for milliseconds by anybody
            yield fd
        finally:
            os.close(fd)

    def _record(self) -> Record:
        try:
            record = json.loads((self._home / "lease").read_bytes().decode("utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _holder(self, lock: int) -> Optional[Record]:
        """Who holds it now; None when it is free, has run out, or its owner is dead."""
        record = self._record()
        left = _read_expiry(lock) - now()
        # The file holds milliseconds: a lease that was renewed just now can have TTL_S and half a
        # millisecond left. Clearly more can only be the clock of another boot.
        if record.get("boot") != boot_id() or not 0 < left <= TTL_S + 1.0:
            return None
        if record.get("namespace") == _namespace() and not _runs(record):
            return None
        return record

    def _take(self, lock: int, work_s: float) -> None:
        token = self._record().get("token")
        self.token = (token if isinstance(token, int) else 0) + 1
        record = {
            "token": self.token,
            "owner": self._owner,
            "boot": boot_id(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "namespace": _namespace(),
            "ends": now() + work_s,
        }
        fresh = self._home / "lease.new"
        try:
            _write_synced(fresh, json.dumps(record).encode("utf-8"))
        except OSError:
            with suppress(OSError):
                fresh.unlink()
            raise
        fresh.replace(self._home / "lease")
        _write_expiry(lock, now() + TTL_S)


def _write_synced(path: Path, data: bytes) -> None:
    fd = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # a token that a power cut takes back would be given twice


def _read_expiry(lock: int) -> float:
    try:
        return float(os.pread(lock, 64, 0) or 0)
    except ValueError:
        return 0.0


def _write_expiry(lock: int, when: float) -> None:
    # In place and not synced: it means nothing after a power cut, and cards wear out.
    os.pwrite(lock, b"%020.3f\n" % when, 0)


# ---------------------------------------------------------------- clock and processes


def now() -> float:
    """Seconds since boot, suspension included; nobody can set this clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Another text after each boot; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """Which process ids mean what: a container's are not the board's. Empty: unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (Path.readlink is of 3.9)
    except OSError:
        return ""


def _started(pid: int) -> Optional[str]:
    """When a process began, in the kernel's ticks; None when there is no such process."""
    try:
        stat = Path("/proc/%d/stat" % pid).read_text()
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in "ZX" else fields[19]


def _runs(record: Record) -> bool:
    """Whether the record's process is alive, as far as that can be seen here."""
    pid = record.get("pid")
    if not record.get("namespace") or not isinstance(pid, int):
        return True
    return _started(pid) == record.get("started")
