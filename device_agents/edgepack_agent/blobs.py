"""The blob store: files named by their SHA-256, resumed where a transfer broke off."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Dict, Iterable, List, NoReturn, Optional, Tuple

from edgepack_agent import cache
from edgepack_agent.errors import AgentError, unwritable
from edgepack_agent.job import Blob

HEADROOM = 16 << 20  # left free on the disk beside the blobs
_READ = 1 << 20
# The file that this agent runs from, which looks old once the clock has jumped ahead.
_ARCHIVE = Path(__file__).parent.parent.name


def agent_home() -> Path:
    """The only folder that the agent writes to: $EDGEPACK_AGENT_HOME or ~/.cache/edgepack."""
    named = os.environ.get("EDGEPACK_AGENT_HOME")
    return Path(named) if named else Path.home() / ".cache" / "edgepack"


class BlobStore:
    """`<home>/blobs/<sha256>`, with `<sha256>.part` for what has not come whole.

    A file under its final name was complete when it was renamed. It is hashed again before
    each use, so what a power cut or a bad card made of it is never measured.
    """

    def __init__(self, home: Path, cap: Optional[int] = None) -> None:
        """cap: bytes that the blobs may take; None: `cache.default_cap`."""
        self._home = home
        self._folder = home / "blobs"
        self._incoming: Dict[str, "_Incoming"] = {}
        self._unsynced: List["_Incoming"] = []
        try:
            for folder in (home, self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cap = cache.default_cap(self._folder) if cap is None else cap
        except OSError as error:
            _refuse(error)

    def path(self, sha256: str) -> Path:
        """Where the complete blob is or will be."""
        return self._folder / sha256

    def _part(self, sha256: str) -> Path:
        return self._folder / (sha256 + ".part")

    def free_bytes(self) -> int:
        """Bytes that this user may still write to the store's disk."""
        disk = os.statvfs(str(self._folder))
        return disk.f_bavail * disk.f_frsize

    def missing(self, blobs: Iterable[Blob]) -> List[Tuple[Blob, int]]:
        """The blobs that are not complete, each with the number of bytes already there.

        Complete files are hashed again: a model that was swapped or damaged on the board must
        not be measured under its old name. A part longer than its blob cannot be its
        beginning and is dropped.
        """
        found: Dict[str, Tuple[Blob, int]] = {}
        for blob in blobs:
            if self._is_complete(blob):
                cache.touch(self.path(blob.sha256))
                continue
            have = max(0, self._size(self._part(blob.sha256)))
            if have > blob.bytes:
                self._part(blob.sha256).unlink()
                have = 0
            found[blob.sha256] = (blob, have)
        return list(found.values())

    def _is_complete(self, blob: Blob) -> bool:
        path = self.path(blob.sha256)
        if self._size(path) < 0:
            return False
        if self._size(path) == blob.bytes and _sha256(path) == blob.sha256:
            return True
        path.unlink()
        return False

    @staticmethod
    def _size(path: Path) -> int:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return -1

    def make_room(self, blobs: Iterable[Blob], missing: Iterable[Tuple[Blob, int]]) -> int:
        """Keep the cache under its cap and the missing bytes on the disk; bytes removed.

        Nothing of `blobs` is removed. AgentError EP406 when the missing bytes and HEADROOM do
        not fit the disk even so.
        """
        keep = [name for blob in blobs for name in (blob.sha256, blob.sha256 + ".part")]
        needed = sum(blob.bytes - have for blob, have in missing)
        try:
            cache.remove_stale(self._home, [*keep, _ARCHIVE])
            short = needed + HEADROOM - self.free_bytes() if needed else 0
            freed = cache.prune(self._folder, keep, self._cap, needed, short)
        except OSError as error:
            _refuse(error)
        free = self.free_bytes()
        if needed and needed + HEADROOM > free:
            raise AgentError(
                "EP406",
                "the job needs %d more bytes (and %d to spare) and %d are free in %s"
                % (needed, HEADROOM, free, self._folder),
                "Free some space, or point EDGEPACK_AGENT_HOME at a larger disk.",
            )
        return freed

    def append(self, blob: Blob, offset: object, data: bytearray) -> int:
        """Append to the part and return its size. EP409 when the chunk does not fit there."""
        part = self._part(blob.sha256)
        coming = self._incoming.get(blob.sha256)
        have = coming.size if coming else max(0, self._size(part))
        if offset != have or have + len(data) > blob.bytes:
            raise AgentError(
                "EP409",
                "a chunk of %d bytes at %r does not continue blob %.12s, which has %d of %d bytes"
                % (len(data), offset, blob.sha256, have, blob.bytes),
                "Run it again.",
            )
        try:
            if coming is None:
                coming = self._incoming[blob.sha256] = _Incoming(part)
            coming.write(data)
        except OSError as error:
            self._drop(blob)  # makes room on a full disk; half a chunk is of no use anyway
            _refuse(error)
        return coming.size

    def finish(self, blob: Blob) -> None:
        """Rename a part that has its full size and the right hash; else EP409. See `sync`."""
        part = self._part(blob.sha256)
        coming = self._incoming.pop(blob.sha256, None) or _Incoming(part)
        digest = coming.digest.hexdigest()
        if digest != blob.sha256:
            coming.file.close()
            part.unlink()
            raise AgentError(
                "EP409",
                "blob %.12s arrived with the hash %.12s" % (blob.sha256, digest),
                "Run it again: the damaged file was deleted.",
            )
        part.replace(self.path(blob.sha256))
        self._unsynced.append(coming)

    def sync(self) -> None:
        """Bring all that came to the disk: its writing would disturb the measuring."""
        for coming in self._unsynced:
            coming.sync()
        if self._unsynced:
            folder = os.open(str(self._folder), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._unsynced = []

    def _drop(self, blob: Blob) -> None:
        coming = self._incoming.pop(blob.sha256, None)
        if coming is not None:
            coming.file.close()
        with contextlib.suppress(FileNotFoundError):
            self._part(blob.sha256).unlink()


class _Incoming:
    """A part that grows, and its hash so far: hashed as it comes, while the link is waited for."""

    def __init__(self, part: Path) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.file = open(str(part), "a+b", buffering=0, opener=_private)  # noqa: SIM115
        self.file.seek(0)
        for piece in iter(lambda: self.file.read(_READ), b""):
            self.digest.update(piece)
            self.size += len(piece)

    def write(self, data: bytearray) -> None:
        """Append all of it."""
        self.digest.update(data)
        with memoryview(data) as view:
            start = 0
            while start < len(data):
                start += self.file.write(view[start:])
        self.size += len(data)

    def sync(self) -> None:
        """Bring it to the disk and close it."""
        with self.file:
            os.fsync(self.file.fileno())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_READ), b""):
            digest.update(piece)
    return digest.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _refuse(error: OSError) -> NoReturn:
    raise unwritable("the blob store", error) from None
