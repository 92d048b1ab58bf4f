"""Texts as columns: what any database takes, and no longer than an index may be."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

LONGEST = 120
"""Characters of a column that is indexed: four of them fit into PostgreSQL's 2704 bytes."""


def clean(text: str) -> str:
    """The text without what no database takes: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def index_text(value: Any) -> str | None:
    """A text to look things up by: cleaned; a longer one cut, and still told from others.

    None for anything but a text: a device can say anything.
    """
    if not isinstance(value, str):
        return None
    if len(value) <= LONGEST:
        return clean(value)
    mark = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{clean(value[: LONGEST - 17])}~{mark}"


def shown_text(value: str, longest: int) -> str:
    """A text to be listed: cleaned, and cut with an ellipsis."""
    return clean(value) if len(value) <= longest else f"{clean(value[: longest - 1])}…"
