"""Rows of the tables as runs, and as what lists show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from edgepack import codec
from edgepack.model import Measurement, Package, Run, Transfer
from edgepack.store import samples
from edgepack.store.schema import measurements, packages, runs, tags, transfers


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a list of runs shows. measured of total: measurements that went well."""

    run_id: str
    started_at: str
    source_name: str
    devices: tuple[str, ...]
    variants: tuple[str, ...]
    measured: int
    total: int
    tags: tuple[str, ...]
    git_commit: str | None
    git_branch: str | None
    note: str


def load(connection: Connection, run_id: str) -> Run:
    """The run of that id, which must be there.

    Raises:
        ValueError: a document or blob is damaged.
    """
    joined = runs.join(packages, runs.c.package_digest == packages.c.digest)
    wanted = select(runs, packages.c.document.label("package")).select_from(joined)
    row = connection.execute(wanted.where(runs.c.run_id == run_id)).one()
    return Run(
        run_id=row.run_id,
        package=codec.from_json(Package, json.loads(row.package)),
        measurements=_measurements(connection, run_id),
        transfers=_transfers(connection, run_id),
        tags=_tags(connection, [run_id]).get(run_id, ()),
        **own_fields(row),
    )


def own_fields(row: Any) -> dict[str, Any]:
    """A run's own fields, from its document; from the columns where the store is older."""
    columns = {
        "started_at": row.started_at,
        "package_path": row.package_path,
        "git_commit": row.git_commit,
        "git_branch": row.git_branch,
        "note": row.note,
    }
    own: dict[str, Any] = json.loads(row.document)
    return columns | own


def _measurements(connection: Connection, run_id: str) -> tuple[Measurement, ...]:
    table = measurements.c
    wanted = select(table.document, table.samples).where(table.run_id == run_id)
    return tuple(
        dataclasses.replace(
            codec.from_json(Measurement, json.loads(row.document)),
            rounds=samples.unpack(row.samples),
        )
        for row in connection.execute(wanted.order_by(table.position))
    )


def _transfers(connection: Connection, run_id: str) -> tuple[Transfer, ...]:
    table = transfers.c
    wanted = select(table.document).where(table.run_id == run_id).order_by(table.position)
    return tuple(codec.from_json(Transfer, json.loads(text)) for text in connection.scalars(wanted))


def _tags(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    wanted = select(tags.c.run_id, tags.c.name).where(tags.c.run_id.in_(run_ids))
    found: dict[str, tuple[str, ...]] = {}
    for row in connection.execute(wanted.order_by(tags.c.name)):
        found[row.run_id] = (*found.get(row.run_id, ()), row.name)
    return found


def summaries(connection: Connection, found: Sequence[dict[str, Any]]) -> list[RunSummary]:
    """What a list shows of these rows of `runs`."""
    run_ids = [row["run_id"] for row in found]
    names = _tags(connection, run_ids)
    table = measurements.c
    wanted = select(table.run_id, table.device, table.variant, table.status)
    held: dict[str, list[Any]] = {}
    for row in connection.execute(
        wanted.where(table.run_id.in_(run_ids)).order_by(table.run_id, table.position)
    ):
        held.setdefault(row.run_id, []).append(row)
    return [
        RunSummary(
            run_id=row["run_id"],
            started_at=row["started_at"],
            source_name=row["source_name"],
            devices=tuple(dict.fromkeys(one.device for one in held.get(row["run_id"], ()))),
            variants=tuple(dict.fromkeys(one.variant for one in held.get(row["run_id"], ()))),
            measured=sum(one.status == "ok" for one in held.get(row["run_id"], ())),
            total=len(held.get(row["run_id"], ())),
            tags=names.get(row["run_id"], ()),
            git_commit=row["git_commit"],
            git_branch=row["git_branch"],
            note=row["note"],
        )
        for row in found
    ]
