"""What a fuzzed parser is, and one that is wrong on purpose: the fuzzer's own test has it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class RefusedError(Exception):
    """What a parser may end with; edgepack's own are EdgepackError and AgentError."""


@dataclass(frozen=True, kw_only=True)
class Parser:
    """good: bytes that it takes; file: the name they need; refusals: how it may end besides."""

    good: bytes
    parse: Callable[[Path], object]
    refusals: tuple[type[BaseException], ...]
    file: str = "input"


def _planted(path: Path) -> object:
    content = path.read_bytes()
    if len(content) > 9:
        raise RefusedError
    return 1 // (content[:3] != b"bad")


PLANTED = Parser(good=b"good", parse=_planted, refusals=(RefusedError,))
