"""Builds in this folder open their files in forked children (see tests/zygote.py)."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _forked(forked_children: None) -> None:
    """All of them, whatever opens a file."""


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras 3, imported as edgepack does."""
    from edgepack.compress.native import tensorflow

    tensorflow()
    import keras

    return keras
