"""Probes of plug-ins: single files that travel to devices in the agent.

They are not imported here, only read: they run on a board's Python (3.8 or newer) with the
standard library, and know nothing of edgepack but `edgepack_agent`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
from importlib.metadata import EntryPoint
from pathlib import Path

from edgepack import plugins
from edgepack.errors import EdgepackError

GROUP = "edgepack.probes"
_DEFINES = frozenset({"environment", "state", "flags"})
_OLDEST = (3, 8)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def sources() -> dict[str, str]:
    """Modules by their path in the agent's package; {} without such plug-ins.

    One that is unavailable is left out, so that a device refuses its name; `edgepack plugin ls`
    says why.
    """
    made: dict[str, str] = {}
    names: list[str] = []
    for name, entry in plugins.found(GROUP).items():
        with contextlib.suppress(EdgepackError):
            made[f"added/{name}.py"] = source(entry)
            names.append(name)
    return made and {"added/__init__.py": f"PROBES = {tuple(names)!r}\n", **made}


def source(entry: EntryPoint) -> str:
    """The text of the module that an entry point names. EP109 when a device could not run it."""
    if not _NAME.fullmatch(entry.name):
        raise plugins.unavailable(entry, "its name is not a word of a-z, 0-9 and _")
    try:
        spec = importlib.util.find_spec(entry.module)
        text = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
        tree = ast.parse(text, feature_version=_OLDEST)
    except (ImportError, OSError, ValueError, SyntaxError) as error:
        raise plugins.unavailable(entry, f"{type(error).__name__}: {error}") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    missing = ", ".join(sorted(_DEFINES - defined))
    if missing:
        raise plugins.unavailable(entry, f"it does not define {missing}")
    return text
