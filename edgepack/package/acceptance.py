"""The newest signed package that was accepted of each name, so that no older one comes back."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from edgepack import codec, private
from edgepack.errors import EdgepackError
from edgepack.model import Release

_LOCK_S = 10.0


def accept(state: Path, release: Release, *, allow_rollback: bool = False) -> None:
    """Remember the release as accepted, in the JSON file `state` (made when it is not there).

    allow_rollback: an older release passes; the newest one stays remembered.

    Errors: EP210 it is older than the newest accepted of its name, or `state` is damaged.
    """
    import filelock

    private.folder(state.parent)
    with filelock.FileLock(f"{state}.lock", timeout=_LOCK_S, mode=private.FILE):
        known = _read(state)
        newest = known.get(release.name, -1)
        if release.counter < newest and not allow_rollback:
            raise EdgepackError(
                "EP210",
                f"release {release.counter} of '{release.name}' is older than {newest}, which "
                "was accepted here",
                where=str(state),
                hint="Take the newest release, or pass --allow-rollback if you mean it.",
            )
        if release.counter > newest:
            _write(state, {**known, release.name: release.counter})


def _read(state: Path) -> dict[str, int]:
    try:
        return codec.from_json(dict[str, int], json.loads(state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EdgepackError(
            "EP210",
            f"what was accepted before cannot be read: {error}",
            where=str(state),
            hint="Restore the file; delete it only if no older release may come back.",
        ) from error


def _write(state: Path, known: dict[str, int]) -> None:
    # mkstemp makes it 0600, and replacing leaves the old file or the new one.
    handle, part = tempfile.mkstemp(dir=state.parent, prefix=".accepted-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(known, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    Path(part).replace(state)
