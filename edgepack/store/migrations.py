"""From one version of the store to the next, inside the caller's one transaction.

A new store is made of the newest tables at once. A step is written in plain SQL that both
databases take, never in terms of today's tables, and is never changed once released: a store
of any age must be able to walk through all that it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, inspect, select, text

from edgepack.store import schema
from edgepack.store.columns import index_text

_BATCH = 500
"""Documents that are read at once: a store may hold millions."""


def _to_2(connection: Connection) -> None:
    """Journals: how a run that is under way is to be carried out."""
    connection.exec_driver_sql(
        "CREATE TABLE journals (run_id VARCHAR(64) NOT NULL, document TEXT NOT NULL, "
        "PRIMARY KEY (run_id), FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE)"
    )


def _to_3(connection: Connection) -> None:
    """Branches, the run's own document, and what trends need beside each measurement."""
    for statement in (
        "ALTER TABLE runs ADD COLUMN git_branch TEXT",
        "ALTER TABLE runs ADD COLUMN document TEXT DEFAULT '{}' NOT NULL",
        "CREATE INDEX ix_runs_git_branch ON runs (git_branch)",
        "ALTER TABLE measurements ADD COLUMN bytes BIGINT",
        "ALTER TABLE measurements ADD COLUMN governor TEXT",
        "ALTER TABLE measurements ADD COLUMN inputs TEXT",
        "DROP INDEX ix_measurements_device_variant",
    ):
        connection.exec_driver_sql(statement)
    sizes = _sizes(connection)
    digests = {
        row.run_id: row.package_digest
        for row in connection.execute(text("SELECT run_id, package_digest FROM runs"))
    }
    wanted = text("SELECT position, document FROM measurements WHERE run_id = :run")
    update = text(
        "UPDATE measurements SET variant = :variant, device = :device, bytes = :bytes, "
        "governor = :governor, inputs = :inputs WHERE run_id = :run AND position = :position"
    )
    for run_id, digest in digests.items():
        found = connection.execute(wanted, {"run": run_id}).all()
        fresh = [
            {"run": run_id, "position": row.position, **_facts(row.document, sizes[digest])}
            for row in found
        ]
        for start in range(0, len(fresh), _BATCH):
            connection.execute(update, fresh[start : start + _BATCH])
    # Last: before, names of a device may be longer than an index takes.
    connection.exec_driver_sql(
        "CREATE INDEX ix_measurements_listed "
        "ON measurements (run_id, position, device, variant, status)"
    )


def _sizes(connection: Connection) -> dict[str, dict[str, int]]:
    """package digest -> variant -> bytes."""
    found = connection.execute(text("SELECT digest, document FROM packages"))
    return {
        row.digest: {each["name"]: each["bytes"] for each in json.loads(row.document)["variants"]}
        for row in found
    }


def _facts(document: str, sizes: dict[str, int]) -> dict[str, Any]:
    measured = json.loads(document)
    return {
        "variant": index_text(measured["variant"]),
        "device": index_text(measured["device"]),
        "bytes": sizes.get(measured["variant"]),
        "governor": index_text((measured.get("environment") or {}).get("governor")),
        "inputs": index_text(measured.get("inputs_sha256")),
    }


#: Step n brings a store of version n + 1 to version n + 2.
STEPS: Sequence[Callable[[Connection], None]] = (_to_2, _to_3)
NEWEST = len(STEPS) + 1


def version_of(connection: Connection) -> int:
    """The version of the store; 0 for an empty one."""
    if not inspect(connection).has_table(schema.schema_version.name):
        return 0
    found = connection.execute(select(schema.schema_version.c.version)).scalar()
    return int(found or 0)


def migrate(connection: Connection) -> None:
    """Bring a store that is not newer than `NEWEST` to it, inside the caller's transaction."""
    found = version_of(connection)
    if found == NEWEST:
        return
    if found == 0:
        schema.metadata.create_all(connection)
    else:
        for step in STEPS[found - 1 :]:
            step(connection)
    connection.execute(schema.schema_version.delete())
    connection.execute(schema.schema_version.insert().values(version=NEWEST))
