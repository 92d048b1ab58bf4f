"""Reading datasets: `load(spec)` picks the reader by what the spec names.

- `data.npz`: x_train, y_train, x_test, y_test; several inputs as `x_test:<input>` and
  `x_train:<input>`; optional `scale` and `offset` (real = stored * scale + offset) and
  `classes` (names). Pickled objects are refused.
- a folder with idx files (`train-images-idx3-ubyte`, `t10k-…`, plain or .gz): MNIST's format.
- a folder of class folders of images: see `images`.
- `package.module:function`: called without arguments; returns
  ((x_train, y_train), (x_test, y_test)) or a dict with the keys of an .npz.
- `NAME://REST`: a plug-in's reader (entry points `edgepack.datasets`), called with REST; it
  returns the same.
"""

from __future__ import annotations

import gzip
import importlib
import math
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgepack import plugins
from edgepack.data import images
from edgepack.data.dataset import UNNAMED, Array, Dataset, assemble
from edgepack.data.npz import PickledError, read_npz
from edgepack.errors import EdgepackError
from edgepack.model import Transform

GROUP = "edgepack.datasets"
_IDX_BYTES = 1 << 32
_KEYS = "x_train, y_train, x_test, y_test, scale, offset, classes, x_train:<input>, x_test:<input>"


def load(spec: str) -> Dataset:
    """The dataset that `spec` names. EP301 when there is none, EP302 when it is damaged."""
    name, mark, rest = spec.partition("://")
    if mark:
        return _load_plugged(name, rest, spec)
    path = Path(images.strip_options(spec))
    if path.is_dir():
        return _load_idx(path) if _idx_file(path, "t10k-images") else images.load(spec)
    if path.is_file():
        return _load_npz(path)
    if _is_function(spec):
        return _load_function(spec)
    raise _none(spec)


def check(spec: str) -> None:
    """EP301 when there is no dataset of that name. Nothing is read: that may take its time."""
    path = Path(images.strip_options(spec))
    if "://" not in spec and not path.exists() and not _is_function(spec):
        raise _none(spec)


def _none(spec: str) -> EdgepackError:
    return EdgepackError(
        "EP301",
        "There is no dataset of that name",
        hint="Give an .npz file, a folder of class folders, or package.module:function.",
        where=spec,
    )


def _load_plugged(name: str, rest: str, spec: str) -> Dataset:
    """Ask a plug-in's reader. EP105, EP109; EP302 for what it raises or returns."""
    entry = plugins.found(GROUP).get(name)
    if entry is None:
        raise plugins.unknown(GROUP, name)
    read = plugins.load(entry)
    return _called(lambda: read(rest), spec)


def _load_npz(path: Path) -> Dataset:
    try:
        entries = read_npz(path)
    except PickledError as error:
        raise EdgepackError(
            "EP302",
            f"{error}: such an array is a pickle, and opening one would run code from the file",
            hint="Save it with a number's type, names as text: "
            'numpy.asarray(x, dtype="float32"), numpy.asarray(classes, dtype=str). Rows of '
            "different lengths must be padded to one.",
            where=str(path),
        ) from error
    except (OSError, ValueError, MemoryError) as error:
        raise EdgepackError(
            "EP302",
            f"The file cannot be read as .npz: {error}",
            hint="Write it with numpy.savez_compressed(path, x_test=..., y_test=...).",
            where=str(path),
        ) from error
    return _from_entries(entries, str(path))


def _from_entries(entries: Mapping[str, Any], where: str) -> Dataset:
    """A dataset from a mapping with an .npz's keys. An unknown key is an error (EP302)."""
    x: dict[str, dict[str, Array]] = {"x_train": {}, "x_test": {}}
    rest: dict[str, Array] = {}
    for key, value in entries.items():
        split, _, name = key.partition(":")
        if split in x and isinstance(value, Mapping):
            x[split] |= {str(inner): np.asarray(array) for inner, array in value.items()}
        elif split in x:
            x[split][name or UNNAMED] = np.asarray(value)
        elif key in ("y_train", "y_test", "scale", "offset", "classes"):
            rest[key] = np.asarray(value)
        else:
            raise EdgepackError(
                "EP302", f"Unknown entry '{key}'", hint=f"Known entries: {_KEYS}.", where=where
            )
    return assemble(
        x["x_train"],
        rest.get("y_train"),
        x["x_test"],
        rest.get("y_test"),
        where=where,
        transforms=_transforms(rest, tuple(x["x_test"]), where),
        classes=_class_names(rest.get("classes"), where),
    )


def _class_names(given: Array | None, where: str) -> tuple[str, ...]:
    """The names of the classes by number. EP302 for anything but one list of texts."""
    if given is None:
        return ()
    if given.ndim != 1 or given.dtype.kind != "U":
        raise EdgepackError(
            "EP302",
            "'classes' is not a list of names",
            hint="Save it as numpy.array(['cat', 'dog', ...]), in the order of the class numbers.",
            where=where,
        )
    return tuple(str(name) for name in given)


def _transforms(
    rest: Mapping[str, Array], names: tuple[str, ...], where: str
) -> dict[str, Transform]:
    if "scale" not in rest and "offset" not in rest:
        return {}
    values = [np.asarray(rest.get(key, default)) for key, default in (("scale", 1), ("offset", 0))]
    if any(v.size != 1 or v.dtype.kind not in "fiu" or not np.isfinite(v).all() for v in values):
        raise EdgepackError(
            "EP302",
            "scale and offset must be one finite number each",
            hint="Apply a scale that differs by channel before saving, as float32.",
            where=where,
        )
    transform = Transform(scale=float(values[0].item()), offset=float(values[1].item()))
    return dict.fromkeys(names, transform)


def _idx_file(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}-idx*-ubyte*"))), None)


def _load_idx(folder: Path) -> Dataset:
    """MNIST-like folders: uint8 images get a channel axis and a scale of 1/255."""
    arrays: dict[str, Array] = {}
    for key, stem in (
        ("x_train", "train-images"),
        ("y_train", "train-labels"),
        ("x_test", "t10k-images"),
        ("y_test", "t10k-labels"),
    ):
        path = _idx_file(folder, stem)
        if path is not None:
            arrays[key] = _read_idx(path)
    for key in ("x_train", "x_test"):
        if key in arrays and arrays[key].ndim == 3:
            arrays[key] = arrays[key][..., np.newaxis]
    return _from_entries({**arrays, "scale": 1 / 255}, str(folder))


def _unpacked(path: Path) -> bytes:
    """A gzip file's content, no more of it than its own idx header says. EOFError."""
    with gzip.open(path) as file:
        head = file.read(4)
        head += file.read(4 * head[3] if len(head) == 4 else 0)
        size = math.prod(struct.unpack(f">{(len(head) - 4) // 4}I", head[4:]))
        values = file.read(min(size, _IDX_BYTES) + 1)
    if len(values) != size:
        raise ValueError("it does not hold what its header says")
    return head + values


def _read_idx(path: Path) -> Array:
    """An idx file of unsigned bytes: 00 00 08, rank, big-endian uint32 sizes, values."""
    try:
        raw = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, rank = struct.unpack_from(">HBB", raw)
        if zeros != 0 or kind != 8:
            raise ValueError("not an idx file of unsigned bytes")
        shape = struct.unpack_from(f">{rank}I", raw, 4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise EdgepackError(
            "EP302",
            f"The idx file cannot be read: {error}",
            hint="Copy the file again; it may be incomplete.",
            where=str(path),
        ) from error


def _is_function(spec: str) -> bool:
    module, colon, function = spec.partition(":")
    parts = [*module.split("."), function]
    return bool(colon) and all(part.isidentifier() for part in parts)


def _load_function(spec: str) -> Dataset:
    """Call the user's function, with the current folder importable as for `python -m`."""
    module_name, _, function_name = spec.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name)
    except (ImportError, AttributeError) as error:
        raise EdgepackError(
            "EP301",
            f"The dataset function cannot be imported: {error}",
            hint="Name it as package.module:function, importable from the current folder.",
            where=spec,
        ) from error
    return _called(function, spec)


def _called(function: Callable[[], Any], spec: str) -> Dataset:
    """What a function of others' gives, as a dataset. EP302."""
    try:
        result = function()
    except Exception as error:
        raise EdgepackError(
            "EP302",
            f"The dataset function raised {type(error).__name__}: {error}",
            hint="Call it in a Python session to see where.",
            where=spec,
        ) from error
    return _from_entries(_as_entries(result, spec), spec)


def _as_entries(result: Any, spec: str) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    try:
        (x_train, y_train), (x_test, y_test) = result
    except (TypeError, ValueError) as error:
        raise EdgepackError(
            "EP302",
            "The dataset function returned neither ((x_train, y_train), (x_test, y_test)) "
            "nor a dict",
            hint=f"A dict may have: {_KEYS}.",
            where=spec,
        ) from error
    entries = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {key: value for key, value in entries.items() if value is not None}
