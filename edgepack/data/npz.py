"""Writing and reading `.npz` files with any names in them, deterministically."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from edgepack.data.dataset import Array

_NPY = b"\x93NUMPY"
# The earliest time a zip entry can hold: the same content gives the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class PickledError(ValueError):
    """Python objects instead of numbers: they are stored as a pickle, and reading one runs code."""


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The arrays as an .npz. Entries are not deflated: zlib's output differs by its version."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH), buffer.getvalue())
    return target.getvalue()


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an .npz. Pickled objects are refused (PickledError).

    OSError when it cannot be opened; MemoryError; ValueError for any damage, and for entries that
    claim more than they hold, or more than half of this machine's memory.
    """
    try:
        return _read(path)
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy have a dozen names for damage
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        if file.read(len(_NPY)) == _NPY:
            raise ValueError("it is a single array, not an .npz archive")
    if not zipfile.is_zipfile(path):  # NumPy would take it for a pickle
        raise ValueError("it is not a whole .npz archive")
    archive = np.load(path, allow_pickle=False)
    with archive:
        assert archive.zip is not None
        _check(archive.zip)
        return {name: archive[name] for name in archive.files}


def _check(archive: zipfile.ZipFile) -> None:
    """Refuse (ValueError) what would only be found out by allocating it."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total > machine // 2:
        raise ValueError(f"it would unpack to {total / 2**30:,.0f} GiB")
    for entry in entries:
        with archive.open(entry) as content:
            _check_header(content, entry)


def _check_header(content: IO[bytes], entry: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(content)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"'{entry.filename}' is of the unknown version {version}")
    shape, _, dtype = readers[version](content)
    if dtype.hasobject:
        name = entry.filename.removesuffix(".npy")
        raise PickledError(f"'{name}' is an array of Python objects, not of numbers")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != entry.file_size - content.tell():
        raise ValueError(f"'{entry.filename}' claims {claimed:,} bytes and holds others")
