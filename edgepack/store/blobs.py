"""Files named by the SHA-256 of their content, written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from hashlib import sha256
from pathlib import Path

from edgepack import private

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of blobs: `<root>/<first two digits>/<sha256>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Keep the bytes; returns their SHA-256. On return they are on the disk."""
        digest = sha256(data).hexdigest()
        target = self.path(digest)
        if target.exists():
            return digest
        private.folder(target.parent)
        part = target.with_name(f".{digest}.{secrets.token_hex(4)}.part")
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private.FILE)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return digest

    def get(self, digest: str) -> bytes | None:
        """The bytes, checked against their name; None when there are none, or damaged ones."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if sha256(data).hexdigest() == digest else None

    def path(self, digest: str) -> Path:
        """Where a blob of that digest lies, whether or not it is there.

        Raises:
            ValueError: it is not a SHA-256 in lower-case hex (and so no path of ours).
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a SHA-256: {digest!r}")
        return self.root / digest[:2] / digest


def _sync_folder(folder: Path) -> None:
    # The rename lives in the folder: without this a power cut could take it back.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
