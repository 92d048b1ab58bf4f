"""What was measured over runs, from columns alone: no document and no sample is read."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from edgepack.analysis.trends import Conditions, Point
from edgepack.store.columns import index_text
from edgepack.store.schema import measurements, packages, runs


def measured(
    connection: Connection, limit: int, variant: str | None, device: str | None
) -> Iterator[tuple[Conditions, Point]]:
    """The measurements of the newest `limit` runs that have any such, oldest first."""
    table = measurements.c
    such = table.status == "ok"
    if variant is not None:
        such &= table.variant == index_text(variant)
    if device is not None:
        such &= table.device == index_text(device)
    holds = select(table.run_id).where(table.run_id == runs.c.run_id, such).exists()
    newest = select(runs.c.run_id).where(holds).order_by(runs.c.run_id.desc()).limit(limit)
    run_ids = list(connection.scalars(newest))
    joined = measurements.join(runs, runs.c.run_id == table.run_id).join(
        packages, runs.c.package_digest == packages.c.digest
    )
    columns = [column for column in table if column.name not in ("document", "samples")]
    wanted = (
        select(*columns, runs.c.started_at, runs.c.git_commit, packages.c.source_name)
        .select_from(joined)
        .where(table.run_id.in_(run_ids), such, table.p50_ns.is_not(None))
        .order_by(table.run_id, table.position)
    )
    for row in connection.execute(wanted):
        conditions = Conditions(
            source=row.source_name,
            variant=row.variant,
            device=row.device,
            profile=row.profile,
            runtime=row.runtime,
            runtime_version=row.runtime_version,
            accelerator=row.accelerator,
            threads=row.threads,
            governor=row.governor,
            inputs=row.inputs,
            metric=row.quality_metric,
        )
        yield (
            conditions,
            Point(
                run_id=row.run_id,
                started_at=row.started_at,
                git_commit=row.git_commit,
                p50_us=row.p50_ns / 1000,
                quality=row.quality_value,
                bytes=row.bytes,
            ),
        )
