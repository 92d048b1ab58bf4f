"""Runs for MLflow: each measurement is one MLflow run of the experiment `edgepack/<source>`.

`target` is a tracking URI (`sqlite:///mlflow.db`, `http://…`). A measurement that is there
already is left as it is, so that exporting twice changes nothing.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

from edgepack.errors import EdgepackError
from edgepack.exporters import missing, table
from edgepack.model import Run
from edgepack.report.text import plain

_KEY = "edgepack.measurement"


def export(runs: Sequence[Run], target: str) -> str:
    """Log what the tracking server does not have. EP612."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise missing("mlflow", error) from error
    try:
        client = MlflowClient(tracking_uri=target)
        fresh = sum(_log(client, run) for run in runs)
    except ImportError as error:  # alembic, of MLflow's own stores
        raise missing("mlflow", error) from error
    except (MlflowException, OSError) as error:
        raise EdgepackError(
            "EP612",
            f"MLflow refused: {plain(error)}",
            hint="Give the tracking URI with -o, for example sqlite:///mlflow.db.",
        ) from error
    return f"{fresh} new MLflow runs"


def _log(client: Any, run: Run) -> int:
    experiment = _experiment(client, f"edgepack/{plain(run.package.source_name, 200)}")
    fresh = 0
    for number, (row, _) in enumerate(table.rows([run])):
        key = f"{run.run_id}/{number}"
        query = f"tags.`{_KEY}` = '{key}'"
        if client.search_runs([experiment], filter_string=query, max_results=1):
            continue
        _measurement(client, experiment, key, row)
        fresh += 1
    return fresh


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _measurement(client: Any, experiment: str, key: str, row: dict[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    when = _milliseconds(row["started_at"])
    title = f"{plain(row['variant'], 100)} on {plain(row['device'], 100)}"
    # Shown as finished only once it has everything: the key comes last.
    made = client.create_run(experiment, start_time=when, run_name=title)
    numbers = {name for name, kind in table.COLUMNS.items() if kind != "text"}
    known = {name: value for name, value in row.items() if value not in (None, "")}
    client.log_batch(
        made.info.run_id,
        metrics=[
            Metric(name, float(value), when, 0)
            for name, value in known.items()
            if name in numbers and math.isfinite(value)
        ],
        params=[Param(name, plain(value)) for name, value in known.items() if name not in numbers],
    )
    client.set_tag(made.info.run_id, _KEY, key)
    ended = "FINISHED" if row["status"] == "ok" else "FAILED"
    client.set_terminated(made.info.run_id, status=ended, end_time=when)


def _milliseconds(started_at: str) -> int:
    try:
        return int(datetime.datetime.fromisoformat(started_at).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
