"""Looking through a model file before Keras sees it, without running anything of it.

A model file can hold code (Lambda layers, pickles, paths to other files) and can be made to
exhaust memory or disk. Keras's own safe mode has had gaps; this does not rely on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgepack.compress.checking import reason, run_module
from edgepack.compress.native import tensorflow
from edgepack.compress.refusals import bomb, needs_code
from edgepack.compress.safety.configs import Allowed
from edgepack.errors import EdgepackError

__all__ = ["Allowed", "scan_file", "scan_saved_model"]

_TIMEOUT_S = 120.0


def scan_file(path: Path, kind: str, allowed: Allowed | None) -> str:
    """Refuse a hostile .keras ("keras"), .h5 ("h5") or weights-only ("weights") file.

    Gives the version of Keras that wrote an archive, "" where the file does not say.
    Errors: EP202 damaged, oversized or pointing elsewhere; EP203 code that is not `allowed`.
    """
    return _looked_through(path, kind, allowed)["keras_version"] or ""


def scan_saved_model(folder: Path, allowed: Allowed | None) -> None:
    """Refuse a hostile SavedModel folder, as `scan_file`; EP203 also for unknown operations."""
    operations = _looked_through(folder, "savedmodel", allowed)["operations"]
    tensorflow()
    from tensorflow.python.framework import op_def_registry

    for name in operations:
        if op_def_registry.get(name) is None:
            raise needs_code(f"the operation '{name}', which TensorFlow lacks", str(folder))


def _looked_through(path: Path, kind: str, allowed: Allowed | None) -> dict[str, Any]:
    """What the child found (see `child`). A child that fails, by whatever, is a refusal."""
    named = None if allowed is None else [allowed.module, sorted(allowed.names)]
    arguments = [kind, str(path), json.dumps(named)]
    done = run_module("edgepack.compress.safety.child", arguments, _TIMEOUT_S)
    if done.returncode != 0:
        raise bomb(f"looking through it failed ({reason(done)})", str(path))
    outcome: dict[str, Any] = json.loads(done.stdout)
    refused = outcome["refused"]
    if refused is not None:
        raise EdgepackError(refused["code"], refused["what"], hint=refused["hint"], where=str(path))
    return outcome
