"""One run into the tables, inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from edgepack.errors import EdgepackError
from edgepack.model import Package, Run
from edgepack.store import limits, refs, rows, schema


@dataclass(frozen=True, kw_only=True)
class Packed:
    """All rows of one run, made before the transaction begins."""

    package: Package
    package_row: dict[str, Any]
    run_row: dict[str, Any]
    measured: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    tags: list[dict[str, Any]]
    journal: str | None


def pack(run: Run, journal: str | None) -> Packed:
    """The rows of a run. EP105 for an unfit tag, EP610 for what cannot have been measured."""
    limits.check(run)
    for name in run.tags:
        refs.check_tag(name)
    try:
        return Packed(
            package=run.package,
            package_row=rows.package_row(run.package),
            run_row=rows.run_row(run),
            measured=rows.measured_rows(run),
            costs=[
                rows.transfer_row(run.run_id, at, cost) for at, cost in enumerate(run.transfers)
            ],
            tags=[rows.tag_row(run.run_id, name) for name in sorted(set(run.tags))],
            journal=journal,
        )
    except (ValueError, RecursionError) as error:
        # For example nested a thousand deep, or a number of five thousand digits.
        raise EdgepackError(
            "EP610",
            f"the run cannot be written as JSON: {str(error)[:200]}",
            hint="Whoever wrote it is faulty or hostile; measure again with edgepack run.",
        ) from error


def write(connection: Connection, packed: Packed) -> None:
    """Insert the rows. EP105 when the run is there already."""
    run_id = packed.run_row["run_id"]
    if connection.scalar(select(schema.runs.c.run_id).where(schema.runs.c.run_id == run_id)):
        raise is_there(run_id)
    rows.save_package(connection, packed.package_row, packed.package)
    rows.insert(connection, schema.runs, [packed.run_row])
    rows.insert(connection, schema.measurements, packed.measured)
    rows.insert(connection, schema.transfers, packed.costs)
    rows.insert(connection, schema.tags, packed.tags)
    if packed.journal is not None:
        plan = {"run_id": run_id, "document": packed.journal}
        rows.insert(connection, schema.journals, [plan])


def is_there(run_id: str) -> EdgepackError:
    """The refusal to overwrite a run."""
    return EdgepackError(
        "EP105",
        f"run {run_id} is stored already",
        hint="A run is never overwritten; remove it first: edgepack runs rm.",
    )
