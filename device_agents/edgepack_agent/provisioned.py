"""The runtimes that were brought here: `<home>/runtimes/<digest>`, ready for `sys.path`."""

import json
import os
import re
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from edgepack_agent.errors import AgentError

PREFIX = "runtime:"
MANIFEST = "edgepack-wheels.json"
DIGEST = re.compile("[0-9a-f]{64}")
UNUSED_S = 30 * 86400.0  # several hosts may each have brought a runtime of theirs


def folder(home: Path, digest: str) -> Path:
    """Where the set of wheels of that digest is or will be."""
    return home / "runtimes" / digest


def own_signers(home: Path) -> Optional[Path]:
    """The board's own file of allowed signers, if it has one.

    Put there by hand, it makes the board strict: it takes packages signed by those signers and
    nothing else, whatever the host says.
    """
    path = home / "allowed_signers"
    return path if path.exists() else None


def refuse_code(home: Path, what: str) -> None:
    """AgentError EP209 on a strict board: `what` would bring code that nobody signed."""
    if own_signers(home):
        raise AgentError(
            "EP209",
            "this device takes signed packages only, not %s" % what,
            "Bring runtimes before you put allowed_signers on the device.",
        )


def resolve(home: Path, sys_path: Sequence[str]) -> Tuple[str, ...]:
    """The folders to put on `sys.path`: "runtime:<digest>" becomes the provisioned folder.

    AgentError EP405 when it is not there (any more), EP209 for another folder on a strict board.
    """
    found = []
    for entry in sys_path:
        if entry.startswith(PREFIX):
            digest = entry[len(PREFIX) :]
            manifest = folder(home, digest) / MANIFEST
            if not DIGEST.fullmatch(digest) or not manifest.is_file():
                raise AgentError(
                    "EP405",
                    "the provisioned runtime %.12s is not on this device any more" % digest,
                    "Bring it again: edgepack device provision NAME",
                )
            os.utime(str(manifest))
            entry = str(manifest.parent)
        else:
            refuse_code(home, "a folder of code")
        found.append(entry)
    return tuple(found)


def packages(sys_path: Sequence[str]) -> List[str]:
    """The file names of the wheels that were unpacked to these folders, for the report."""
    found: List[str] = []
    for entry in sys_path:
        manifest = Path(entry) / MANIFEST
        if manifest.is_file():
            found += json.loads(manifest.read_text(encoding="utf-8"))
    return found


def remove_unfinished(home: Path) -> None:
    """Remove what a cut left half unpacked. Under the lease only: nobody else unpacks then."""
    import shutil

    for part in (home / "runtimes").glob("*.part"):
        shutil.rmtree(str(part), ignore_errors=True)


def remove_unused(home: Path, keep: str, age_s: float = UNUSED_S) -> int:
    """Remove runtimes that nobody used for `age_s` seconds.

    keep: the digest that stays. Returns how many went.
    """
    import shutil

    oldest, removed = time.time() - age_s, 0
    for found in (home / "runtimes").iterdir():
        manifest = found / MANIFEST
        used = (manifest if manifest.exists() else found).stat().st_mtime
        if found.name != keep and used < oldest:
            shutil.rmtree(str(found), ignore_errors=True)
            removed += 1
    return removed
