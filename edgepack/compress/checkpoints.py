"""Networks between passes, kept so that a killed build goes on from its last finished pass.

A checkpoint is named by everything that led to it (source, passes so far, seed, data, tools),
so recipes that begin alike share it: `slim50-distill` and `slim50-distill-int8` train once.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgepack import codec, private
from edgepack.compress.native import quiet
from edgepack.compress.network import KerasNetwork, Network
from edgepack.compress.passes.base import State
from edgepack.errors import EdgepackError
from edgepack.model import PassReport

_MODEL = "network.keras"
_REST = "state.json"
_ELSEWHERE = ("network", "tflite", "calibration")  # the last two come with the converting pass


class Checkpoints:
    """Checkpoints on disk under `root`. `load` reads a network back from its file."""

    def __init__(self, root: Path, load: Callable[[Path], Network]) -> None:
        self._root = root
        self._load = load

    def last(self, names: Sequence[str]) -> tuple[int, State, list[PassReport]] | None:
        """The last of `names` that is there: (its index, the state, the reports so far)."""
        for index in reversed(range(len(names))):
            found = self._read(self._root / names[index])
            if found is not None:
                return index, *found
        return None

    def _read(self, folder: Path) -> tuple[State, list[PassReport]] | None:
        """A checkpoint, or None where there is none or it is damaged."""
        try:
            document = json.loads((folder / _REST).read_text(encoding="utf-8"))
            reports = codec.from_json(list[PassReport], document["reports"])
            network = self._load(folder / _MODEL)
        except (OSError, ValueError, KeyError, EdgepackError):
            return None
        return State(network=network, **document["state"]), reports

    def packed(self, name: str) -> bytes | None:
        """A checkpoint as one ZIP archive, to go on from elsewhere; None where there is none."""
        folder, packed = self._root / name, io.BytesIO()
        try:
            with zipfile.ZipFile(packed, "w") as archive:
                for part in (_MODEL, _REST):
                    archive.writestr(part, (folder / part).read_bytes())
        except OSError:
            return None
        return packed.getvalue()

    def unpack(self, name: str, packed: bytes) -> None:
        """Keep a checkpoint that `packed` gave elsewhere. ValueError where it is none."""
        self._root.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                for part in (_MODEL, _REST):
                    (fresh / part).write_bytes(archive.read(part))
            shutil.rmtree(self._root / name, ignore_errors=True)
            fresh.rename(self._root / name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a checkpoint: {error}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def save(self, name: str, state: State, reports: Sequence[PassReport]) -> bool:
        """Keep a state; False where Keras cannot save the network (nothing is left over)."""
        if not isinstance(state.network, KerasNetwork):
            return False
        private.folder(self._root)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            with quiet():
                state.network.model.save(str(fresh / _MODEL))
            document = {
                "state": _rest_of(state),
                "reports": [codec.to_json(report) for report in reports],
            }
            (fresh / _REST).write_text(json.dumps(document), encoding="utf-8")
            private.close(fresh)
            shutil.rmtree(self._root / name, ignore_errors=True)
            fresh.rename(self._root / name)
        except (OSError, TypeError, ValueError, NotImplementedError):
            return False
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return True


def _rest_of(state: State) -> dict[str, Any]:
    """All of a state but the network and the file."""
    names = [field.name for field in dataclasses.fields(State) if field.name not in _ELSEWHERE]
    return {name: getattr(state, name) for name in names}
