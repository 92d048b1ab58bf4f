"""A control group of the kernel, of version 1 or 2, whose CPU quota can be cut."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

TOP = Path("/sys/fs/cgroup")
PERIOD_US = 100_000  # the kernel's default
NAME = f"edgepack-benchmark-{os.getpid()}"


class Group:
    """One group and its quota, as a share of one core."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder, self._version = folder, version

    @contextlib.contextmanager
    def cut(self, share: float) -> Iterator[None]:
        """Let its processes have no more than that share of a core."""
        self._set(int(share * PERIOD_US))
        try:
            yield
        finally:
            self._set(None)

    def _set(self, quota_us: int | None) -> None:
        if self._version == 1:
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota_us or -1))
        else:
            (self._folder / "cpu.max").write_text(f"{quota_us or 'max'} {PERIOD_US}")


def _place() -> tuple[Path, int] | None:
    """Where groups with a quota are made, and the version."""
    if (TOP / "cpu" / "cpu.cfs_quota_us").exists():
        return TOP / "cpu", 1
    controllers = TOP / "cgroup.subtree_control"
    if controllers.exists() and "cpu" in controllers.read_text().split():
        return TOP, 2
    return None


def writable() -> bool:
    """Whether a group can be made here."""
    place = _place()
    try:
        if place is None:
            return False
        (place[0] / NAME).mkdir()
        (place[0] / NAME).rmdir()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def group(pid: int) -> Iterator[Group]:
    """A group with this process, and with those that it will start, in it."""
    place = _place()
    assert place is not None
    folder = place[0] / NAME
    folder.mkdir()
    try:
        (folder / "cgroup.procs").write_text(str(pid))
        yield Group(folder, place[1])
    finally:
        _remove(folder, place[0])


def _remove(folder: Path, parent: Path) -> None:
    for left in (folder / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it ended meanwhile
            (parent / "cgroup.procs").write_text(left)
    for _ in range(50):
        with contextlib.suppress(OSError):  # processes that are still ending
            folder.rmdir()
            return
        time.sleep(0.1)
