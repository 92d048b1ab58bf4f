"""A folder of class folders of images.

    photos/train/cat/*.jpg  photos/test/cat/*.jpg    the split is the user's
    photos/cat/*.jpg                                 a seeded fifth of each class is the test set

Options follow a question mark: `photos?size=96x96&color=gray&scale=1&offset=0`.
size: width x height to resize to (bilinear); without it all images must have one size.
color: "rgb" (default) or "gray". scale, offset: real = pixel * scale + offset; by default
scale is 1/255, so that the model sees 0..1. Pixels stay uint8 until they are on the device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from edgepack.data.dataset import UNNAMED, Array, Dataset, assemble
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Transform

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
_TEST_SHARE = 0.2
_SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class _Options:
    size: tuple[int, int] | None = None
    mode: str = "RGB"
    transform: Transform = field(default_factory=lambda: Transform(scale=1 / 255))


def strip_options(spec: str) -> str:
    """The path in `spec`, without `?options`; a path that exists is taken as it is."""
    return spec if Path(spec).exists() else spec.partition("?")[0]


def load(spec: str) -> Dataset:
    """The images under the folder that `spec` names. EP302 when they cannot be used."""
    root = Path(strip_options(spec))
    options = _parse_options(spec[len(str(strip_options(spec))) + 1 :], spec)
    notes: tuple[str, ...] = ()
    if (root / "test").is_dir():
        classes = _classes(root / "test", spec)
        test = _files(root / "test", classes)
        train = _files(root / "train", classes) if (root / "train").is_dir() else []
    else:
        classes = _classes(root, spec)
        train, test = _split(_files(root, classes))
        notes = (
            f"No train/ and test/ folders: a seeded {_TEST_SHARE:.0%} of each class "
            f"({len(test)} of {len(train) + len(test)} images) is the test set.",
        )
    x_train, y_train = _read(train, options, spec)
    x_test, y_test = _read(test, options, spec)
    return assemble(
        {UNNAMED: x_train} if train else {},
        y_train,
        {UNNAMED: x_test},
        y_test,
        where=spec,
        transforms={UNNAMED: options.transform},
        classes=classes,
        notes=notes,
    )


def _parse_options(text: str, spec: str) -> _Options:
    given = dict(parse_qsl(text, keep_blank_values=True))
    known = ["size", "color", "scale", "offset"]
    for key in given:
        if key not in known:
            raise _bad_option(f"Unknown option '{key}'", did_you_mean(key, known), spec)
    color = given.get("color", "rgb")
    if color not in ("rgb", "gray"):
        raise _bad_option(f"Unknown color '{color}'", "Use rgb or gray.", spec)
    try:
        width, _, height = given.get("size", "").partition("x")
        size = (int(width), int(height)) if "size" in given else None
        scale, offset = float(given.get("scale", 1 / 255)), float(given.get("offset", 0))
    except ValueError as error:
        hint = "For example photos?size=96x96&color=gray&scale=1&offset=0."
        raise _bad_option(f"An option is not a number: {error}", hint, spec) from error
    if size is not None and min(size) < 1:
        raise _bad_option("size must be positive", "For example ?size=96x96.", spec)
    mode = "RGB" if color == "rgb" else "L"
    return _Options(size=size, mode=mode, transform=Transform(scale=scale, offset=offset))


def _bad_option(what: str, hint: str, spec: str) -> EdgepackError:
    return EdgepackError("EP105", what, hint=hint, where=spec)


def _classes(folder: Path, spec: str) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not names:
        raise EdgepackError(
            "EP302",
            "The folder has no class folders",
            hint="Put the images of each class in a folder of their own.",
            where=spec,
        )
    return names


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Image files and class numbers, in the order of their names."""
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in _SUFFIXES
    ]


def _split(
    files: list[tuple[Path, int]],
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """A seeded share of each class (at least one image) as test, the rest as train."""
    rng = np.random.default_rng(_SPLIT_SEED)
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label in sorted({label for _, label in files}):
        members = [item for item in files if item[1] == label]
        order = [members[i] for i in rng.permutation(len(members))]
        cut = max(1, round(len(order) * _TEST_SHARE))
        test += order[:cut]
        train += order[cut:]
    return train, test


def _read(files: list[tuple[Path, int]], options: _Options, spec: str) -> tuple[Array, Array]:
    """Pixels [n, height, width, 1 or 3] as uint8 and class numbers [n]."""
    pixels = [_read_image(path, options) for path, _ in files]
    labels = np.array([label for _, label in files], np.int32)
    sizes = {image.shape for image in pixels}
    if len(sizes) > 1:
        raise EdgepackError(
            "EP302",
            f"The images have {len(sizes)} different sizes",
            hint=f"Say the model's input size, for example {spec}?size=96x96.",
            where=spec,
        )
    return (np.stack(pixels) if pixels else np.zeros((0,), np.uint8)), labels


def _read_image(path: Path, options: _Options) -> Array:
    from PIL import Image

    try:
        with Image.open(path) as image:
            converted = image.convert(options.mode)
            if options.size is not None and converted.size != options.size:
                converted = converted.resize(options.size, Image.Resampling.BILINEAR)
            array = np.asarray(converted, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EdgepackError(
            "EP302",
            f"An image cannot be read: {error}",
            hint="Remove or replace the file.",
            where=str(path),
        ) from error
    return array[..., np.newaxis] if array.ndim == 2 else array
