"""Runs as rows of the tables (`reading` is the way back)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from edgepack import codec
from edgepack.analysis import stats
from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Package, Run, Transfer
from edgepack.store import dialect, samples
from edgepack.store.columns import index_text, shown_text
from edgepack.store.schema import packages

_NOTE = 1000
"""Characters of a note that a list shows; the run's document has all of it."""
_OWN = ("started_at", "package_path", "git_commit", "git_branch", "note")


def insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Insert many rows; nothing for none."""
    if rows:
        connection.execute(table.insert(), rows)


def _text(value: Any) -> str:
    return json.dumps(codec.to_json(value), ensure_ascii=True, separators=(",", ":"))


def package_row(package: Package) -> dict[str, Any]:
    """The columns of a package."""
    return {
        "digest": package.digest,
        "source_name": shown_text(package.source_name, _NOTE),
        "document": _text(package),
    }


def save_package(connection: Connection, row: dict[str, Any], package: Package) -> None:
    """Keep a package once, however many runs measured it.

    Raises:
        EdgepackError: EP610, another package has that digest: one of them is forged.
    """
    if dialect.insert_if_new(connection, packages, row):
        return
    held = connection.scalar(select(packages.c.document).where(packages.c.digest == row["digest"]))
    if held == row["document"] or codec.from_json(Package, json.loads(held or "{}")) == package:
        return
    raise EdgepackError(
        "EP610",
        f"the store holds another package of the digest {package.digest[:12]}…",
        hint="Remove the imported run that brought it: edgepack runs rm.",
    )


def run_row(run: Run) -> dict[str, Any]:
    """The columns of a run."""
    return {
        "run_id": run.run_id,
        "package_digest": run.package.digest,
        "package_path": None,
        **own_columns({name: getattr(run, name) for name in _OWN}),
    }


def own_columns(own: dict[str, Any]) -> dict[str, Any]:
    """The columns of a run's own fields (`started_at`, `note` …), with their document."""
    return {
        "started_at": shown_text(own["started_at"], 40),
        "git_commit": None if own["git_commit"] is None else shown_text(own["git_commit"], 64),
        "git_branch": index_text(own["git_branch"]),
        "note": shown_text(own["note"], _NOTE),
        "document": json.dumps(own, ensure_ascii=True, separators=(",", ":")),
    }


def tag_row(run_id: str, name: str) -> dict[str, Any]:
    """The columns of a tag."""
    return {"run_id": run_id, "name": name}


def row(run_id: str, position: int, measurement: Measurement, size: int | None) -> dict[str, Any]:
    """The columns of a measurement; size: its variant's bytes."""
    runtime, quality = measurement.runtime, measurement.quality
    latency = stats.latency(measurement)
    return {
        "run_id": run_id,
        "position": position,
        "variant": index_text(measurement.variant),
        "device": index_text(measurement.device),
        "profile": index_text(measurement.profile),
        "status": str(measurement.status),
        "runtime": index_text(runtime.name) if runtime else None,
        "runtime_version": index_text(runtime.version) if runtime else None,
        "accelerator": index_text(measurement.accelerator.actual),
        "threads": measurement.threads,
        "p50_ns": round(latency.p50 * 1000) if latency else None,
        "quality_metric": index_text(quality.metric) if quality else None,
        "quality_value": quality.value if quality else None,
        "bytes": size,
        "governor": index_text(measurement.environment.get("governor")),
        "inputs": index_text(measurement.inputs_sha256),
        "document": _text(dataclasses.replace(measurement, rounds=())),
        "samples": samples.pack(measurement.rounds),
    }


def measured_rows(run: Run) -> list[dict[str, Any]]:
    """The columns of all measurements of a run."""
    sizes = {variant.name: variant.bytes for variant in run.package.variants}
    return [
        row(run.run_id, position, found, sizes.get(found.variant))
        for position, found in enumerate(run.measurements)
    ]


def transfer_row(run_id: str, position: int, transfer: Transfer) -> dict[str, Any]:
    """The columns of a transfer."""
    return {
        "run_id": run_id,
        "position": position,
        "device": index_text(transfer.device),
        "document": _text(transfer),
    }
