"""Choices made into candidates, here: one after the other, as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from edgepack.errors import EdgepackError
from edgepack.searching.foundry import Foundry
from edgepack.searching.values import Candidate, Choice

Asked = Sequence[tuple[int, Choice]]
Made = tuple[int, Choice, Candidate | EdgepackError]
Late = Callable[[float], bool]
"""Whether the time is up, or too short for what needs so many seconds."""


class Making(Protocol):
    """Makes candidates, here or elsewhere."""

    def made(self, asked: Asked, late: Late) -> Iterator[Made]:
        """Candidates as they are finished, or why one cannot be made; none more when late."""
        ...


class Here:
    """Makes candidates in this process, in order."""

    def __init__(self, foundry: Foundry) -> None:
        self._foundry = foundry
        self._epoch_s = 0.0

    def made(self, asked: Asked, late: Late) -> Iterator[Made]:
        """See `Making`."""
        for number, choice in asked:
            if late(self._epoch_s * choice.epochs):
                return
            before = time.monotonic()
            try:
                candidate = self._foundry.make(number, choice)
            except EdgepackError as error:
                yield number, choice, error
                continue
            if choice.epochs:
                self._epoch_s = (time.monotonic() - before) / choice.epochs
            yield number, choice, candidate
