"""Evaluation data that live on this board and never leave it: looked at in a child process.

The file is an `.npz` as a user makes it (`x_test`, `y_test`, `scale`, `offset`) or as edgepack
does (`x:<input>`, `y`). Only its digest, size and number of samples are told.
"""

import hashlib
import os
import stat
import zipfile
from typing import Any, Dict, Optional

import numpy as np

from edgepack_agent import inputs
from edgepack_agent.errors import AgentError

_HINT = "Give the absolute path of an .npz that the login's user can read, as device:/PATH."
_CHUNK = 1 << 20


def examine(path: str) -> Dict[str, Any]:
    """What the file is. AgentError EP301 for none that can be opened, EP302 for what is no data."""
    sha256, size = digest(path)
    try:
        arrays, labels, _ = inputs.evaluation(inputs.open_npz(path), {})
    except AgentError as error:
        raise AgentError("EP302", error.what, error.hint) from None
    if not arrays:
        raise AgentError("EP302", "%s on the device has no x_test" % path, _HINT)
    _check_sums(path)
    for name, array in [*arrays.items(), ("y_test", labels)]:
        if array is not None and not _finite(array):
            what = "'%s' of %s on the device has NaN or infinite values" % (name, path)
            raise AgentError("EP302", what, "Clean the data: such samples have no right answer.")
    return {
        "path": path,
        "sha256": sha256,
        "bytes": size,
        "samples": min(len(array) for array in arrays.values()),
        "task": _task(labels),
    }


def _check_sums(path: str) -> None:
    """AgentError EP302 for a damaged file: what is mapped was not held against its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        why = "'%s' has a bad CRC-32" % damaged if damaged else None
    except MemoryError:
        raise
    except Exception as error:  # zipfile has a dozen names for damage
        why = str(error)
    if why is not None:
        raise AgentError("EP302", "%s on the device is damaged: %s" % (path, why), _HINT)


def _finite(array: np.ndarray) -> bool:
    """Whether all values are numbers; a few rows at a time, for boards with little memory."""
    if array.dtype.kind != "f" or not array.size:
        return True
    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    return all(np.isfinite(array[at : at + rows]).all() for at in range(0, len(array), rows))


def digest(path: str) -> Any:
    """SHA-256 and size of a regular file; a pipe or a device is not even waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise AgentError(
            "EP301", "%.200s on the device cannot be opened: %s" % (path, error), _HINT
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise AgentError("EP301", "%.200s on the device is no regular file" % path, _HINT)
    with os.fdopen(handle, "rb") as file:
        found, size = hashlib.sha256(), 0
        for block in iter(lambda: file.read(_CHUNK), b""):
            found.update(block)
            size += len(block)
    return found.hexdigest(), size


def _task(labels: Optional[np.ndarray]) -> str:
    """Whole numbers, one a sample, are classes, and so are one-hot rows; others are targets."""
    if labels is None:
        return "none"
    whole = labels.dtype.kind in "iub" and labels.size == len(labels)
    rows = labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all()
    one_hot = rows and (labels.sum(axis=1) == 1).all()
    return "classification" if whole or one_hot else "regression"
