"""Looking through an HDF5 file without reading its data: links, shapes, filters, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, BinaryIO

from edgepack.compress.refusals import bomb, not_a_model
from edgepack.compress.safety.configs import CONFIG_BYTES

# ResNet152 has 2,000 objects; a file with a million is made to keep a reader busy.
_OBJECTS = 200_000
_DEPTH = 64
# Compressing weights gains little; even all-zero ones of a real model stay below this.
_RATIO = 200
_FREE_BYTES = 64 * 2**20
_TOTAL_BYTES = 16 * 2**30
# Filters that libhdf5 has built in or h5py brings; any other would load a plug-in library.
_KNOWN_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 6: "scale-offset"}
_LZF = 32000


def check(source: str | BinaryIO, where: str) -> str | bytes | None:
    """Refuse (EP202) what is no plain weights file; the `model_config` text where there is one."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            _check_objects(h5py, file, where)
            return _model_config(file, where)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise not_a_model(f"damaged HDF5: {error}", where) from error


def _model_config(file: Any, where: str) -> str | bytes | None:
    if "model_config" not in file.attrs:
        return None
    if file.attrs.get_id("model_config").get_storage_size() > CONFIG_BYTES:
        raise bomb("its architecture is larger than any model's", where)
    text = file.attrs["model_config"]
    if not isinstance(text, (str, bytes)):
        raise not_a_model("its architecture is not text", where)
    return text


def _check_objects(h5py: Any, file: Any, where: str) -> None:
    total = 0
    for count, (name, dataset) in enumerate(_datasets(h5py, file, where)):
        if count > _OBJECTS:
            raise bomb(f"it has more than {_OBJECTS:,} objects", where)
        if dataset is not None:
            total += _check_dataset(dataset, name, where)
    if total > _TOTAL_BYTES:
        raise bomb(f"its tensors take {total / 2**30:,.0f} GiB", where)


def _datasets(h5py: Any, file: Any, where: str) -> Iterator[tuple[str, Any | None]]:
    """(name, dataset) of every dataset once, (name, None) of every group; checks the links."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        yield path, None
        if depth > _DEPTH:
            raise bomb(f"its groups are nested more than {_DEPTH} deep", where)
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                target = getattr(link, "filename", None) or "another place"
                raise bomb(f"'{path}/{name}' is a link to {target}", where)
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                yield f"{path}/{name}", item
            elif isinstance(item, h5py.Group):
                waiting.append((f"{path}/{name}", item, depth + 1))


def _check_dataset(dataset: Any, name: str, where: str) -> int:
    """Bytes of the dataset in memory, when it is stored plainly in this file."""
    if dataset.is_virtual or dataset.external:
        raise bomb(f"'{name}' reads its data from another file", where)
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in _KNOWN_FILTERS and code != _LZF:
            raise bomb(f"'{name}' needs the unknown HDF5 filter {code}", where)
    size = prod(dataset.shape or ()) * int(dataset.dtype.itemsize)
    stored = dataset.id.get_storage_size()
    if size > _FREE_BYTES and size > _RATIO * stored:
        raise bomb(f"'{name}' claims {size / 2**20:,.0f} MiB and stores {stored:,} bytes", where)
    return size
