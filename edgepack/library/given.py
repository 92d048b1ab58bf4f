"""What callers give: models and data as paths or in memory, and who is told of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgepack.errors import EdgepackError
from edgepack.model import Event

Progress = Callable[[Event], None]
Data = str | Path | Mapping[str, Any]


def silence(_event: Event) -> None:
    """Nobody watches."""


def is_named(given: object) -> bool:
    """Whether it is a path or a name, and nothing in memory."""
    return given is None or isinstance(given, str | Path)


def model(given: Any, folder: Path) -> str:
    """The path of the model; a Keras model is saved first. EP105 for anything else."""
    if isinstance(given, str | Path):
        return str(given)
    if not callable(getattr(given, "save", None)):
        raise EdgepackError(
            "EP105",
            f"a {type(given).__name__} is neither a path nor a Keras model",
            where="model",
            hint="Give the path of a .keras, .h5 or .tflite file, or a keras.Model.",
        )
    file = folder / f"{getattr(given, 'name', None) or 'model'}.keras"
    given.save(file)
    return str(file)


def data(given: Data | None, folder: Path) -> str | None:
    """What `--data` takes; arrays are written to a file first."""
    if given is None or isinstance(given, str | Path):
        return None if given is None else str(given)
    import numpy as np

    from edgepack.data.npz import npz_bytes

    file = folder / "data.npz"
    file.write_bytes(npz_bytes({name: np.asarray(array) for name, array in given.items()}))
    return str(file)
