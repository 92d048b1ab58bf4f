"""A package of the tests' tiny models, made without TensorFlow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from edgepack import package
from edgepack.data import Dataset
from edgepack.model import Package, Recipe, Signature, TensorSpec, Variant

DATA = Path(__file__).parent.parent / "data"
_SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", shape=(None, 4, 4, 1), dtype="float32"),),
    outputs=(TensorSpec(name="class", shape=(None, 4), dtype="float32"),),
)


def write(directory: Path) -> Package:
    """Two variants and 16 random samples."""
    files = {}
    variants = []
    for name in ("float", "int8"):
        file = DATA / f"classifier_{name}.tflite"
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files[digest] = file
        variants.append(
            Variant(
                name=name,
                recipe=Recipe(name=name),
                sha256=digest,
                bytes=len(content),
                gzip_bytes=len(content),
                signature=_SIGNATURE,
            )
        )
    rng = np.random.default_rng(0)
    dataset = Dataset(
        x_train={},
        y_train=None,
        x_test={"image": rng.random((16, 4, 4, 1), dtype=np.float32)},
        y_test=None,
        transforms={},
        task="none",
        source="random",
        classes=(),
    )
    return package.write(
        directory,
        source_name="tiny.keras",
        source_sha256="0" * 64,
        variants=variants,
        files=files,
        dataset=dataset,
        tools={},
    )
