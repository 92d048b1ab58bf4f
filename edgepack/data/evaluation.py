"""The evaluation data that travels to the devices: a deterministic npz."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgepack.data.dataset import Dataset
from edgepack.data.npz import npz_bytes
from edgepack.model import EvalData


def write_eval(dataset: Dataset, path: Path) -> EvalData:
    """Write `x:<input>` as stored and `y`, and describe the file.

    Entries are not deflated here, because the wire compresses what travels.
    """
    arrays = {f"x:{name}": array for name, array in dataset.x_test.items()}
    if dataset.y_test is not None:
        arrays["y"] = dataset.y_test
    data = npz_bytes(arrays)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
    return EvalData(
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        samples=dataset.test_samples,
        task=dataset.task,
        transforms=dataset.transforms,
        source=dataset.source,
        classes=dataset.classes,
    )
