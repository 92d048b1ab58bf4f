"""Names of runs: "latest", "latest~2", "branch:main", an id, a tag, or the beginning of an id."""

from __future__ import annotations

import re

from sqlalchemy import Connection, select

from edgepack.errors import EdgepackError, did_you_mean
from edgepack.store.columns import index_text, shown_text
from edgepack.store.schema import runs, tags

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_BRANCH = re.compile(r"branch:([^~]+)(?:~(\d{1,9}))?", re.DOTALL)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@-]{0,99}")
_SHOWN = 5
_LONGEST = 300
"""Characters of a name; git branches and ids are shorter, and nothing is searched by more."""


def resolve(connection: Connection, ref: str) -> str:
    """The id of the run that `ref` names. A tag names the newest run that bears it.

    "branch:NAME" is the newest run of a git branch, "branch:NAME~1" the one before it (the
    baseline of a run that is itself of that branch).

    Raises:
        EdgepackError: EP601, no run or more than one is named so.
    """
    ref = shown_text(ref, _LONGEST)
    latest = _LATEST.fullmatch(ref)
    if latest:
        return _latest(connection, ref, int(latest[1] or 0))
    branch = _BRANCH.fullmatch(ref)
    if branch:
        return _of_branch(connection, branch[1], int(branch[2] or 0))
    if connection.scalar(select(runs.c.run_id).where(runs.c.run_id == ref)):
        return ref
    tagged = select(tags.c.run_id).where(tags.c.name == ref).order_by(tags.c.run_id.desc())
    found: str | None = connection.scalar(tagged.limit(1))
    if found:
        return found
    begins = select(runs.c.run_id).where(runs.c.run_id.startswith(ref, autoescape=True))
    ids = list(connection.scalars(begins.order_by(runs.c.run_id.desc()).limit(_SHOWN + 1)))
    if ref and len(ids) == 1:
        return str(ids[0])
    if ref and ids:
        named = ", ".join(ids[:_SHOWN]) + (" …" if len(ids) > _SHOWN else "")
        raise EdgepackError("EP601", f"'{ref}' begins several runs", hint=f"One of: {named}.")
    raise EdgepackError("EP601", f"no run is named '{ref}'", hint=_hint(connection, ref))


def check_tag(name: str) -> None:
    """Refuse a tag that could not be told from another name. EP105."""
    if not _TAG.fullmatch(name) or _LATEST.fullmatch(name):
        raise EdgepackError(
            "EP105",
            f"'{name[:100]}' cannot be a tag",
            hint="Use letters, digits and . _ / + @ - (at most 100); 'latest' is taken.",
        )


def _latest(connection: Connection, ref: str, back: int) -> str:
    # Ids begin with their time, so that their order is that of the runs.
    ordered = select(runs.c.run_id).order_by(runs.c.run_id.desc())
    found: str | None = connection.scalar(ordered.offset(back).limit(1))
    if found is None:
        hint = "The store has fewer runs. List them: edgepack runs ls."
        raise EdgepackError("EP601", f"there is no run '{ref}'", hint=hint if back else _EMPTY)
    return found


def _of_branch(connection: Connection, name: str, back: int) -> str:
    of_branch = select(runs.c.run_id).where(runs.c.git_branch == index_text(name))
    ordered = of_branch.order_by(runs.c.run_id.desc())
    found: str | None = connection.scalar(ordered.offset(back).limit(1))
    if found is not None:
        return found
    if back:
        raise EdgepackError(
            "EP601",
            f"branch '{name}' has no {back + 1} runs",
            hint="List the runs: edgepack runs ls.",
        )
    known = connection.scalars(select(runs.c.git_branch).distinct().limit(50))
    hint = did_you_mean(name, [branch for branch in known if branch])
    raise EdgepackError("EP601", f"there is no run of branch '{name}'", hint=hint)


_EMPTY = "The store is empty. Make a run: edgepack demo."


def _hint(connection: Connection, ref: str) -> str:
    newest = select(runs.c.run_id).order_by(runs.c.run_id.desc()).limit(50)
    known = [*connection.scalars(newest), *connection.scalars(select(tags.c.name).distinct())]
    if not known:
        return _EMPTY
    said = did_you_mean(ref, [*known, "latest"])
    return said if said.startswith("Did") else "List the runs: edgepack runs ls."
