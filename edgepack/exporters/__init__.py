"""Runs for other tools: exporters are entry points of the group `edgepack.exporters`.

One is a function `export(runs, target) -> str`: it writes the runs to the file, folder or
address that `target` names, and says in a few words what it wrote. A file is written whole or
not at all (`whole_file`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgepack import plugins
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Run

GROUP = "edgepack.exporters"
Exporter = Callable[[Sequence[Run], str], str]


def names() -> list[str]:
    """The names of the installed exporters."""
    return list(plugins.found(GROUP))


def load(name: str) -> Exporter:
    """The exporter of that name. EP105 when there is none, EP109 when it cannot be loaded."""
    entry = plugins.found(GROUP).get(name)
    if entry is None:
        raise EdgepackError("EP105", f"no exporter '{name}'", hint=did_you_mean(name, names()))
    found: Exporter = plugins.load(entry)
    return found


def missing(extra: str, error: ImportError) -> EdgepackError:
    """EP612: the library that an exporter needs is not installed."""
    return EdgepackError(
        "EP612",
        f"'{extra}' needs a library that is not installed: {error.name}",
        hint=f"pip install 'edgepack[{extra}]'",
    )


@contextmanager
def whole_file(target: str) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well. EP612 when it cannot be written."""
    path = Path(target)
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        Path(part).unlink(missing_ok=True)


def _unwritable(target: str, error: OSError) -> EdgepackError:
    return EdgepackError(
        "EP612",
        f"it cannot be written: {error.strerror}",
        where=target,
        hint="Choose another place with -o.",
    )
