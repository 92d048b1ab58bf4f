"""What edgepack keeps for itself, readable by this user alone: folders 0700, files 0600.

Whatever the umask is, which a library must leave alone. What a user names with `-o` follows
the umask instead: it is for others.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FILE = 0o600
FOLDER = 0o700


def folder(path: Path) -> Path:
    """Make a folder and what is missing above it; what is there already stays as it is."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            with contextlib.suppress(FileExistsError):  # another process made it meanwhile
                each.mkdir(mode=FOLDER)
    return path


def touch(path: Path) -> None:
    """Make an empty file, for a library that opens it by its name."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, FILE))


def write(path: Path, content: bytes) -> None:
    """Write a file, in place of an earlier one. It is not synced."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, FILE)) as file:
        os.fchmod(file.fileno(), FILE)  # an earlier one keeps its mode
        file.write(content)


def close(path: Path) -> None:
    """Take everybody else's rights from a file, or from a folder and all that is in it."""
    for each in (path, *path.rglob("*")):
        if not each.is_symlink():
            each.chmod(FOLDER if each.is_dir() else FILE)
