"""The compression passes, found by their entry points (`edgepack.passes`).

Built-in passes are registered in pyproject.toml in the same way as anybody else's.
"""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.metadata import EntryPoint

from edgepack import plugins
from edgepack.compress.passes.base import Pass
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import PassSpec

GROUP = "edgepack.passes"


@cache
def known() -> dict[str, type[Pass]]:
    """Every pass class that can be used, by its name, sorted. Imports no TensorFlow.

    One that cannot be loaded is left out: `make` says why when it is asked for, and
    `edgepack plugin ls` at any time.
    """
    classes: dict[str, type[Pass]] = {}
    for name, entry in plugins.found(GROUP).items():
        with contextlib.suppress(EdgepackError):
            classes[name] = load(entry)
    return classes


def load(entry: EntryPoint) -> type[Pass]:
    """The class of an entry point. EP109."""
    loaded = plugins.load(entry)
    if not (isinstance(loaded, type) and issubclass(loaded, Pass)):
        raise plugins.unavailable(entry, "it is no Pass")
    if loaded.name != entry.name:
        raise plugins.unavailable(entry, f"the pass calls itself '{loaded.name}'")
    return loaded


def make(spec: PassSpec) -> Pass:
    """The pass of a recipe's step: EP102 unknown, EP105 a bad parameter, EP109 unavailable."""
    found = known().get(spec.name)
    if found is None:
        entry = plugins.found(GROUP).get(spec.name)
        if entry is not None:
            found = load(entry)
    if found is None:
        raise EdgepackError(
            "EP102",
            f"There is no pass '{spec.name}'",
            hint=did_you_mean(spec.name, list(known())),
        )
    return found(spec.params)
