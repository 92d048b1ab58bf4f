"""Real packages of tiny models, and real OpenSSH keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgepack import package
from edgepack.data import Dataset
from edgepack.model import (
    Package,
    PassReport,
    PassSpec,
    Recipe,
    Signature,
    TensorSpec,
    Transform,
    Variant,
)
from tests.agent.host import DATA, images, sha256


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair; the private key's path."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def allow(file: Path, key: Path, identity: str = "release@example.org", options: str = "") -> Path:
    """A file of allowed signers that names the key."""
    public = key.with_suffix(".pub").read_text().split()
    file.write_text(f"{identity} {options} {public[0]} {public[1]}\n")
    return file


def write_package(directory: Path, kinds: tuple[str, ...] = ("float", "int8")) -> Package:
    """The tests' classifiers as a package, as if they had been built."""
    x, y = images()
    files = {kind: DATA / f"classifier_{kind}.tflite" for kind in kinds}
    spec = TensorSpec(name="image", shape=(1, 4, 4, 1), dtype="float32")
    variants = [
        Variant(
            name=kind,
            recipe=Recipe(name=kind, passes=(PassSpec(name=f"quantize.{kind}"),), seed=3),
            sha256=sha256(file.read_bytes()),
            bytes=file.stat().st_size,
            gzip_bytes=file.stat().st_size,
            signature=Signature(inputs=(spec,), outputs=(spec,)),
            lineage=(PassReport(name=kind, seconds=1.0),),
        )
        for kind, file in files.items()
    ]
    dataset = Dataset(
        x_train={},
        y_train=None,
        x_test={"image": x},
        y_test=y.astype("int32"),
        transforms={"image": Transform(scale=1 / 255)},
        task="classification",
        source="dataset",
        classes=(),
    )
    return package.write(
        directory,
        source_name="corners.keras",
        source_sha256="5" * 64,
        variants=variants,
        files={variant.sha256: files[variant.name] for variant in variants},
        dataset=dataset,
        tools={"edgepack": "0.1.0", "python": "3.11.2", "tensorflow": "2.21.0", "tf-keras": ""},
    )
