"""Looking through a Keras archive (zip) before anything of it is unpacked."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from edgepack.compress.refusals import bomb, forbidden, not_a_model
from edgepack.compress.safety import hdf5
from edgepack.compress.safety.configs import CONFIG_BYTES, parse

_ENTRIES = 10_000
_TOTAL_BYTES = 16 * 2**30
# Keras stores entries as they are; deflate makes at most 1,032:1 of them.
_RATIO = 200
_FREE_BYTES = 64 * 2**20
_PICKLE_SUFFIXES = {".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}


def read_archive(path: Path, where: str) -> tuple[Any, str]:
    """(architecture, Keras version) of an archive whose entries are all harmless. EP202, EP203."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path.stat().st_size, where)
            for entry in archive.infolist():
                _check_content(archive, entry, where)
            config = parse(archive.read("config.json"), where)
            metadata = json.loads(archive.read("metadata.json"))
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        KeyError,
        ValueError,
        RuntimeError,
        OSError,
        EOFError,
    ) as error:
        raise not_a_model(f"damaged Keras archive: {error}", where) from error
    version = metadata.get("keras_version", "") if isinstance(metadata, dict) else ""
    return config, str(version)


def _check_entries(archive: zipfile.ZipFile, size: int, where: str) -> None:
    entries = archive.infolist()
    if len(entries) > _ENTRIES:
        raise bomb(f"the archive has {len(entries):,} entries", where)
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise bomb("the archive has two entries of the same name", where)
    for entry in entries:
        _check_name(entry, where)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _TOTAL_BYTES or unpacked > max(_FREE_BYTES, _RATIO * size):
        raise bomb(f"{size:,} bytes would unpack to {unpacked / 2**20:,.0f} MiB", where)
    if sum(entry.compress_size for entry in entries) > size:
        raise bomb("the archive's entries overlap", where)
    for entry in entries:
        if entry.filename.endswith(".json") and entry.file_size > CONFIG_BYTES:
            raise bomb(f"'{entry.filename}' is larger than any model's", where)


def _check_name(entry: zipfile.ZipInfo, where: str) -> None:
    """Every entry stays inside the folder that it would be unpacked to."""
    name = entry.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or set(name) & {"\\", ":", "\0"}:
        raise bomb(f"the entry {name!r} points out of the archive", where)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise bomb(f"the entry {name!r} is a link", where)
    if entry.flag_bits & 1:
        raise not_a_model(f"the entry {name!r} is encrypted", where)


def _check_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> None:
    with archive.open(entry) as content:
        head = content.read(2)
    if PurePosixPath(entry.filename).suffix in _PICKLE_SUFFIXES or is_pickle(head):
        raise forbidden(f"the pickle '{entry.filename}'", "runs code when it is opened", where)
    if entry.filename.endswith(".h5"):
        with archive.open(entry) as content, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(content, copy, 2**20)
            copy.seek(0)
            hdf5.check(copy, where)


def is_pickle(head: bytes) -> bool:
    """Whether these first bytes are those of a pickle of protocol 2 to 5."""
    return len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5
