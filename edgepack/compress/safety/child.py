"""Scans one file in a process of its own: `python -m edgepack.compress.safety.child`.

Arguments: kind ("keras", "h5", "weights", "savedmodel"), path, and the allowed module with its
names as JSON (or "null"). Prints {"refused": {"code", "what", "hint"} or null, "keras_version": str
or null, "operations": [names of a SavedModel's]}. A file that crashes libhdf5 takes this process
down and not edgepack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgepack.compress import limits
from edgepack.compress.refusals import not_a_model
from edgepack.compress.safety import archives, hdf5, saved_models
from edgepack.compress.safety.configs import Allowed, parse, refuse_code
from edgepack.errors import EdgepackError

_MEMORY_BYTES = 8 * 2**30
_CPU_S = 60


def main(kind: str, path: str, allowed_json: str) -> None:
    """Scan and print the outcome."""
    limits.bound(_MEMORY_BYTES, _CPU_S)
    document = json.loads(allowed_json)
    allowed = document and Allowed(module=document[0], names=frozenset(document[1]))
    outcome: dict[str, Any] = {"refused": None, "keras_version": None, "operations": []}
    try:
        if kind == "savedmodel":
            saved_models.messages_alone()
            outcome["operations"] = sorted(saved_models.check(Path(path), path, allowed))
        else:
            outcome["keras_version"] = _scan(kind, path, allowed)
    except EdgepackError as error:
        outcome["refused"] = {"code": error.code, "what": error.what, "hint": error.hint}
    print(json.dumps(outcome))


def _scan(kind: str, path: str, allowed: Allowed | None) -> str | None:
    """The version of Keras that wrote an archive; None for other kinds."""
    if kind == "keras":
        config, version = archives.read_archive(Path(path), path)
        refuse_code(config, path, allowed)
        return version
    text = hdf5.check(path, path)
    if kind == "weights":  # an architecture beside the weights is never read
        return None
    if text is None:
        raise not_a_model(
            "it holds weights without an architecture",
            path,
            hint="Save the whole model, or give --weights FILE --arch module:function.",
        )
    refuse_code(parse(text, path), path, allowed)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
