"""Two kinds of things a pass says: what it did, and what a user should worry about."""

from __future__ import annotations


class Fact(str):
    """A note that is no reason to worry: told while building and kept in the lineage."""

    __slots__ = ()
