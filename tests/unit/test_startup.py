"""Light commands load little: the nouns come one module at a time, under all their names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from edgepack import model


def test_the_lazy_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(str(model.__file__)).read_text())
    typed = {
        name.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("edgepack.")
        for name in node.names
    }
    defined = {
        name
        for module in set(typed.values())
        for name, value in vars(importlib.import_module(module)).items()
        if getattr(value, "__module__", None) == module
    }
    assert set(typed) == defined
    for name, module in typed.items():
        assert getattr(model, name).__module__ == module


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Devise"):
        _ = model.Devise  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import edgepack", ["click", "edgepack.pipeline", "edgepack.model", "numpy"]),
        ("from edgepack.registry import Registry", ["edgepack.model.results", "tempfile"]),
        ("from edgepack.cli import device", ["edgepack.model.results", "importlib.metadata"]),
    ],
)
def test_what_is_light_stays_light(code: str, absent: list[str]) -> None:
    look = f"{code}\nimport sys; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
