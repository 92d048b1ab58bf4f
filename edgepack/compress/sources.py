"""What a source model is and its digest, by content and not by name. Imports no TensorFlow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgepack.compress.refusals import forbidden, not_a_model
from edgepack.compress.safety.archives import is_pickle
from edgepack.compress.user_code import module_digest
from edgepack.errors import EdgepackError


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model file or folder: kind is "keras", "h5", "savedmodel", "tflite" or "weights".

    arch: for "weights", the "module:function" that makes the network they belong to; its code
    is part of the digest.
    """

    path: Path
    kind: str
    sha256: str
    arch: str | None = None


def identify(model: str, arch: str | None = None) -> Source:
    """What `model` is. With `arch`, it is a weights file for the network that it makes.

    EP201 when there is nothing there, EP202 when it is none of the known kinds, EP203 for a
    pickle, EP105 when `arch` names no function.
    """
    path = Path(model)
    if not path.exists():
        raise EdgepackError(
            "EP201",
            "There is no model there",
            hint="Give a .keras, .h5 or .tflite file or a SavedModel folder.",
            where=model,
        )
    if path.is_dir():
        if arch is not None or not (path / "saved_model.pb").is_file():
            what = "weights file" if arch else "saved_model.pb"
            raise not_a_model(f"the folder has no {what}", model)
        return Source(path=path, kind="savedmodel", sha256=_hash_folder(path))
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise not_a_model(str(error), model) from error
    kind = _kind(head, model)
    if arch is None:
        return Source(path=path, kind=kind, sha256=digest)
    if kind != "h5":
        raise not_a_model("weights for an architecture are read from HDF5 only", model)
    both = f"weights {digest}\narch {arch} {_code_digest(arch)}\n"
    digest = hashlib.sha256(both.encode()).hexdigest()
    return Source(path=path, kind="weights", sha256=digest, arch=arch)


def _kind(head: bytes, where: str) -> str:
    if head[:4] == b"PK\x03\x04":
        return "keras"
    if head == b"\x89HDF\r\n\x1a\n":
        return "h5"
    if head[4:8] == b"TFL3":
        return "tflite"
    if is_pickle(head):
        raise forbidden("nothing but a pickle", "runs code when it is opened", where)
    raise not_a_model("it is neither a Keras archive, HDF5 nor TFLite", where)


def _hash_folder(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def split_arch(arch: str) -> tuple[str, str]:
    """Module and function of "module:function". EP105."""
    module, colon, function = arch.partition(":")
    if not (colon and module and function.isidentifier()):
        raise bad_arch("It is not of the form module:function", arch)
    return module, function


def bad_arch(what: str, arch: str) -> EdgepackError:
    """EP105 for an architecture that cannot be made."""
    return EdgepackError(
        "EP105",
        what,
        hint="Give --arch module:function: an importable function that returns a built model.",
        where=arch,
    )


def _code_digest(arch: str) -> str:
    """SHA-256 over the module that `arch` names. EP105 when it cannot be found."""
    module, _ = split_arch(arch)
    try:
        return module_digest(module)
    except ImportError as error:
        raise bad_arch(f"The module cannot be found: {error}", arch) from error
