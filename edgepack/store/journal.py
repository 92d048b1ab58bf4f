"""A run that is under way: what was measured goes in as it comes, device by device.

A run is stored when it begins, with a place for each measurement it will have, and how it is
to be carried out. Whatever ends the host then loses nothing that was recorded, and what is
missing can be told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from edgepack import codec
from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Status, Transfer
from edgepack.store import rows
from edgepack.store.columns import index_text
from edgepack.store.schema import journals, measurements, runs, transfers


def is_final(measurement: Measurement) -> bool:
    """Whether nothing is left to measure: it went well and was not cut short."""
    return measurement.status is Status.OK and "cancelled" not in measurement.flags


def lock(connection: Connection, run_id: str) -> None:
    """Until the transaction ends, no one else records for the run. EP601 when it is gone."""
    mine = select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update()
    if connection.scalar(mine) is None:
        raise EdgepackError(
            "EP601",
            f"run {run_id} is not in the store any more",
            hint="It was removed while it was measured: run it again.",
        )


def record(connection: Connection, run_id: str, fresh: Sequence[Measurement]) -> None:
    """Put results in the places that the run has for them.

    A final one that is there already stays: two hosts that finish the same run, or one that
    is told twice, change nothing.

    Raises:
        KeyError: the run has no such variant on such a device.
    """
    for measurement in fresh:
        table = measurements.c
        mine = (table.run_id == run_id) & (table.device == index_text(measurement.device))
        wanted = select(table.position, table.document, table.bytes).where(mine)
        this = table.variant == index_text(measurement.variant)
        found = connection.execute(wanted.where(this)).first()
        if found is None:
            raise KeyError((measurement.device, measurement.variant))
        if is_final(codec.from_json(Measurement, json.loads(found.document))):
            continue
        here = (table.run_id == run_id) & (table.position == found.position)
        values = rows.row(run_id, found.position, measurement, found.bytes)
        connection.execute(measurements.update().where(here).values(values))


def record_transfer(connection: Connection, run_id: str, transfer: Transfer) -> None:
    """Keep what one more session of a run cost."""
    last = select(func.max(transfers.c.position)).where(transfers.c.run_id == run_id)
    position = connection.scalar(last)
    at = 0 if position is None else position + 1
    connection.execute(transfers.insert().values(rows.transfer_row(run_id, at, transfer)))


def document(connection: Connection, run_id: str) -> str:
    """How the run is to be carried out, as it was given. EP601 when that was not kept."""
    found: str | None = connection.scalar(
        select(journals.c.document).where(journals.c.run_id == run_id)
    )
    if found is None:
        raise EdgepackError(
            "EP601",
            f"run {run_id} has no journal to resume from",
            hint="It was imported, or made by an older edgepack: run it again.",
        )
    return found
