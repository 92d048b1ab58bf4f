"""A package: a folder with a manifest, the variants' `.tflite` files and evaluation data.

The manifest lists the SHA-256 of every other file, and the package's digest is the SHA-256
of the manifest, so one digest stands for all of it. Writing is deterministic: the same
variants and data give the same bytes, times and machine left out. Signing (`signing`) adds
the release to the manifest, and `manifest.json.sig` beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepack import codec
from edgepack.data import Dataset, write_eval
from edgepack.data.dataset import Array
from edgepack.data.npz import read_npz
from edgepack.errors import EdgepackError
from edgepack.model import Blob, EvalData, Package, Release, Variant
from edgepack.package import bom

SCHEMA = "edgepack.package/1"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
OPENSSF = "model.sig"
EVAL_FILE = "eval.npz"
BOM_FILE = "bom.cdx.json"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MANIFEST_BYTES = 64 << 20  # a hundred variants with long lineages are a megabyte


def variant_file(name: str) -> str:
    """The file name of a variant in its package."""
    return f"{name}.tflite"


def blobs(package: Package, directory: Path, variants: Iterable[Variant]) -> list[Blob]:
    """What a device needs to measure these variants: their files and the data, each once."""
    named = {
        each.sha256: Blob(
            sha256=each.sha256, bytes=each.bytes, path=str(directory / variant_file(each.name))
        )
        for each in variants
    }
    if package.data is not None:
        file, data = str(directory / EVAL_FILE), package.data
        named[data.sha256] = Blob(sha256=data.sha256, bytes=data.bytes, path=file)
    return list(named.values())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def broken(
    what: str, where: Path, hint: str = "Build the package again with 'edgepack build'."
) -> EdgepackError:
    """The error EP208."""
    return EdgepackError("EP208", what, where=str(where), hint=hint)


def _without_times(variant: Variant) -> Variant:
    """Seconds differ from build to build; everything else of a variant does not."""
    lineage = tuple(dataclasses.replace(report, seconds=0.0) for report in variant.lineage)
    return dataclasses.replace(variant, lineage=lineage)


def _manifest(package: Package, bom: bytes) -> bytes:
    files = _files_of(package)
    files[BOM_FILE] = hashlib.sha256(bom).hexdigest()
    document = {
        "schema": SCHEMA,
        "source": {"name": package.source_name, "sha256": package.source_sha256},
        "variants": [codec.to_json(variant) for variant in package.variants],
        "data": None if package.data is None else codec.to_json(package.data),
        "data_sha256": package.data_sha256,
        "tools": dict(package.tools),
        "files": files,
        "release": None,
    }
    return _dumped(document)


def _dumped(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def released(raw: bytes, release: Release) -> bytes:
    """The manifest with this release in it, in place of any other."""
    return _dumped({**json.loads(raw), "release": codec.to_json(release)})


def _files_of(package: Package) -> dict[str, str]:
    """Name -> SHA-256 of the variants' files and the evaluation data."""
    files = {variant_file(variant.name): variant.sha256 for variant in package.variants}
    if package.data is not None:
        files[EVAL_FILE] = package.data.sha256
    return files


def parse(raw: bytes, where: Path) -> tuple[Package, Mapping[str, str]]:
    """The package that a manifest describes, and its files by SHA-256. EP208."""
    try:
        document: dict[str, Any] = json.loads(raw)
        if document["schema"] != SCHEMA:
            raise broken(f"its schema is {document['schema']!r}, not {SCHEMA}", where)
        package = Package(
            digest=hashlib.sha256(raw).hexdigest(),
            source_name=str(document["source"]["name"]),
            source_sha256=str(document["source"]["sha256"]),
            variants=codec.from_json(tuple[Variant, ...], document["variants"]),
            data=codec.from_json(EvalData | None, document["data"]),  # type: ignore[arg-type]
            data_sha256=str(document.get("data_sha256", "")),
            tools=codec.from_json(dict[str, str], document["tools"]),
            release=codec.from_json(Release | None, document.get("release")),  # type: ignore[arg-type]
        )
        files = codec.from_json(dict[str, str], document["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise broken(f"the manifest is damaged: {error}", where) from error
    for name, digest in files.items():
        if not PLAIN_NAME.fullmatch(name):
            raise broken(f"the manifest names a file outside the package: {name!r}", where)
        if not _SHA256.fullmatch(digest):
            raise broken(f"the manifest gives {name} no SHA-256 but {digest!r}", where)
    if {name: files[name] for name in files if name != BOM_FILE} != _files_of(package):
        raise broken("the manifest's list of files does not fit its variants", where)
    return package, files


def write(
    directory: Path,
    *,
    source_name: str,
    source_sha256: str,
    variants: Sequence[Variant],
    files: Mapping[str, Path],
    dataset: Dataset | None,
    tools: Mapping[str, str],
) -> Package:
    """Write the package into `directory` (created, or replaced whole) and return it.

    files: the `.tflite` file of each variant, by SHA-256. Until the last rename the old
    folder is untouched. EP105, EP603.
    """
    check_output(directory)
    with _beside(directory) as scratch:
        fresh = scratch / "package"
        fresh.mkdir()
        for variant in variants:
            if not PLAIN_NAME.fullmatch(variant.name):
                raise broken(f"'{variant.name}' cannot be a variant's name", directory)
            shutil.copyfile(files[variant.sha256], fresh / variant_file(variant.name))
        data = None if dataset is None else write_eval(dataset, fresh / EVAL_FILE)
        package = Package(
            digest="",
            source_name=source_name,
            source_sha256=source_sha256,
            variants=tuple(_without_times(variant) for variant in variants),
            data=data,
            data_sha256="" if dataset is None else dataset.digest,
            tools=tools,
        )
        listed = bom.document(package)
        raw = _manifest(package, listed)
        (fresh / BOM_FILE).write_bytes(listed)
        (fresh / MANIFEST).write_bytes(raw)
        _replace(directory, fresh, scratch / "old")
    return parse(raw, directory)[0]


def check_output(directory: Path) -> None:
    """Refuse what no package can be written to, before there is work to lose. EP105, EP603."""
    whole = directory.absolute()
    nearest = next(each for each in (whole, *whole.parents) if os.path.lexists(each))
    if not nearest.is_dir():
        raise _unfit(nearest, "a package is a folder, and this is a file", "Name another folder.")
    with _written(directory):
        if nearest == whole:
            _check_ours(directory)
        place = nearest.parent if nearest == whole else nearest
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"nothing may be written to {place}")


def _check_ours(directory: Path) -> None:
    if any(directory.iterdir()) and not (directory / MANIFEST).is_file():
        raise _unfit(
            directory,
            "the output folder is not empty and holds no package",
            "Name a new folder, or empty this one yourself.",
        )


def _unfit(where: Path, what: str, hint: str) -> EdgepackError:
    return EdgepackError("EP105", what, where=str(where), hint=hint)


@contextmanager
def _beside(directory: Path) -> Iterator[Path]:
    """A new folder on the directory's own disk, gone with all that is in it afterwards. EP603."""
    with _written(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".package-", dir=directory.parent) as scratch:
            yield Path(scratch)


@contextmanager
def _written(directory: Path) -> Iterator[None]:
    """What the system refuses while a package is written, a full disk above all, is EP603."""
    try:
        yield
    except OSError as error:
        raise EdgepackError(
            "EP603",
            f"the package cannot be written: {error.strerror or error}",
            where=str(directory),
            hint="Make room there, or name another folder.",
        ) from error


def _replace(directory: Path, fresh: Path, old: Path) -> None:
    if directory.exists():
        _check_ours(directory)
        directory.rename(old)
    fresh.rename(directory)


def read(directory: Path) -> Package:
    """The package in that folder, with every file checked against the manifest. EP208."""
    package, files = parse(manifest_bytes(directory), directory / MANIFEST)
    for name, digest in files.items():
        file = directory / name
        if file.is_symlink() or not file.is_file():
            raise broken(f"{name} is missing", directory)
        if sha256_of(file) != digest:
            raise broken(f"{name} is not the file that was packed (SHA-256 differs)", directory)
    return package


def evaluation(directory: Path) -> dict[str, Array]:
    """The evaluation data as stored: `x:<input>`, and `y` where there are labels. EP208."""
    file = directory / EVAL_FILE
    try:
        return read_npz(file)
    except (OSError, ValueError, MemoryError) as error:
        raise broken(f"its evaluation data cannot be read: {error}", file) from error


def members(directory: Path) -> list[str]:
    """The names of the package's files, the manifest first. EP208."""
    return [MANIFEST, *parse(manifest_bytes(directory), directory / MANIFEST)[1]]


def manifest_bytes(directory: Path) -> bytes:
    """The manifest as it lies there. EP208 for none, or one too large to be one."""
    manifest = directory / MANIFEST
    try:
        if manifest.is_symlink() or not manifest.is_file():
            raise broken("there is no manifest.json: not a package", directory)
        if manifest.stat().st_size > _MANIFEST_BYTES:
            raise broken("its manifest is larger than any package's", manifest)
        return manifest.read_bytes()
    except OSError as error:
        raise broken(f"the manifest cannot be read: {error}", manifest) from error


def calibrated_on(variants: Iterable[Variant]) -> list[str]:
    """The devices whose own data some variant was calibrated with, by name."""
    return sorted(
        {
            source.device
            for variant in variants
            for report in variant.lineage
            for source in report.calibration
        }
    )


def check_same(old: Package, new: Package) -> None:
    """EP208, with what differs, unless the two have the same origin and files of the same bytes."""
    then = {"source": old.source_sha256, "data": old.data_sha256, **_files_of(old)}
    now = {"source": new.source_sha256, "data": new.data_sha256, **_files_of(new)}
    differ = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    if differ:
        tools = sorted(name for name in old.tools if new.tools.get(name) != old.tools[name])
        raise EdgepackError(
            "EP208",
            f"the rebuilt package differs in {', '.join(differ)}",
            hint=f"These versions differ: {', '.join(tools)}."
            if tools
            else "Give the model and the data that the package was built from.",
        )
