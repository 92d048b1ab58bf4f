"""What the fields of an agent's events may hold; all else is refused (see `events`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, with_config

from edgepack.errors import CATALOGUE

LONGEST_NS = 24 * 3600 * 10**9
"""Longest believable single inference: a day."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0)]
Nanoseconds = Annotated[int, Field(gt=0, le=LONGEST_NS)]


def _printable(text: str) -> str:
    """Without control characters: a device must not steer the terminal that shows its words."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _catalogued(code: str) -> str:
    if code not in CATALOGUE:
        raise ValueError("no code of edgepack's catalogue")
    return code


Text = Annotated[str, Field(max_length=65536), AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_printable)]
Code = Annotated[str, AfterValidator(_catalogued)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Packed = Annotated[str, Field(max_length=8 * 1024 * 1024)]

checked = with_config(ConfigDict(strict=True, extra="ignore", allow_inf_nan=False))
