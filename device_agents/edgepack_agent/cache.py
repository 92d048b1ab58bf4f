"""The board's cache kept small: least recently used blobs go, and what was never finished."""

import os
import time
from pathlib import Path
from typing import Iterable, List, Optional, Tuple

LARGEST_DEFAULT = 2 << 30
DISK_SHARE = 4  # by default at most a quarter of the disk, however small that is
STALE_S = 7 * 86400.0  # parts and old agents; both are only sent again when still needed

_Entry = Tuple[float, int, Path]  # last use, bytes, where


def default_cap(folder: Path) -> int:
    """Bytes that the blobs may take where the job does not say."""
    disk = os.statvfs(str(folder))
    return min(LARGEST_DEFAULT, disk.f_blocks * disk.f_frsize // DISK_SHARE)


def touch(path: Path) -> None:
    """Note that a blob was used now."""
    os.utime(str(path))


def remove_stale(home: Path, keep: Iterable[str], age_s: float = STALE_S) -> None:
    """Remove parts and agents that nobody has touched for `age_s`, but none named in `keep`."""
    kept = set(keep)
    oldest = time.time() - age_s
    for folder, pattern in (("blobs", "*.part"), ("agent", "*.part"), ("agent", "*.pyz")):
        for path in (home / folder).glob(pattern):
            if path.name not in kept and path.stat().st_mtime < oldest:
                path.unlink()


def prune(folder: Path, keep: Iterable[str], cap: int, coming: int, short: int) -> int:
    """Remove blobs, the longest unused first, and return the bytes that were freed.

    keep: names that must stay; cap: bytes that all blobs may take with the `coming` ones;
    short: bytes that must become free on the disk in any case.
    """
    kept = set(keep)
    entries = _entries(folder)
    excess = sum(size for _, size, _ in entries) + coming - cap
    freed = 0
    for _, size, path in sorted(entries):
        if freed >= max(excess, short):
            break
        if path.name not in kept:
            path.unlink()
            freed += size
    return freed


def _entries(folder: Path) -> List[_Entry]:
    found: List[_Entry] = []
    for path in folder.iterdir():
        state: Optional[os.stat_result] = path.lstat()
        assert state is not None
        found.append((state.st_mtime, state.st_size, path))
    return found
