"""A package as one file: a zip without compression, the same bytes for the same package."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
import zipfile
from pathlib import Path

from edgepack.model import Package
from edgepack.package.files import (
    OPENSSF,
    PLAIN_NAME,
    SIGNATURE,
    broken,
    members,
    read,
)

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODELS = (".tflite", ".keras", ".h5")
_PIECE = 1 << 20


def bundle(directory: Path, target: Path) -> None:
    """Write the package in `directory`, with the signatures that it has, as the file `target`."""
    read(directory)
    part = target.with_name(target.name + ".part")
    try:
        _pack(directory, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _pack(directory: Path, target: Path) -> None:
    signatures = [name for name in (SIGNATURE, OPENSSF) if (directory / name).is_file()]
    names = [*members(directory), *signatures]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.create_system = 3  # Unix, whatever this host is
            entry.external_attr = 0o644 << 16
            entry.file_size = (directory / name).stat().st_size
            with (directory / name).open("rb") as source, archive.open(entry, "w") as content:
                shutil.copyfileobj(source, content, _PIECE)


def unbundle(file: Path, directory: Path) -> Package:
    """Unpack a bundle into `directory` (which must not exist) and check it. EP208.

    A bundle is refused when it is not byte for byte what `bundle` makes of its content, so a
    change in its zip headers is found as well. Nothing is written outside `directory`, and
    never more bytes than the bundle has.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_entries(archive, file)
            directory.mkdir(parents=True)
            for entry in archive.infolist():
                with archive.open(entry) as source, (directory / entry.filename).open("xb") as new:
                    shutil.copyfileobj(source, new, _PIECE)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise broken(f"cannot be unpacked: {error}", file) from error
    package = read(directory)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=directory.parent) as scratch:
        again = Path(scratch) / "again"
        _pack(directory, again)
        if not filecmp.cmp(again, file, shallow=False):
            raise broken("the bundle was changed after it was written", file)
    return package


def opened(path: Path, scratch: Path) -> tuple[Package, Path]:
    """The package at `path` and its folder; a bundle is unpacked into `scratch`. EP208."""
    if not path.exists():
        hint = "Name a folder or a bundle that 'edgepack build' made."
        raise broken("there is no such folder or file", path, hint)
    if path.is_file() and path.suffix in _MODELS:
        raise broken("a model, not a package", path, f"Build and measure it: edgepack run {path}")
    if path.is_file():
        directory = scratch / "package"
        return unbundle(path, directory), directory
    return read(path), path


def _check_entries(archive: zipfile.ZipFile, file: Path) -> None:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if any(not PLAIN_NAME.fullmatch(entry.orig_filename) for entry in entries):
        raise broken("the bundle names a file outside the package", file)
    if len(set(names)) != len(names):
        raise broken("the bundle has two files of the same name", file)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise broken("the bundle is compressed, which no bundle is", file)
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise broken("the bundle claims more bytes than it has", file)
