"""Runs as Parquet: one row a measurement, with its raw samples (`rounds_ns`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepack.exporters import missing, table, whole_file
from edgepack.model import Run


def export(runs: Sequence[Run], target: str) -> str:
    """Write one row a measurement; `rounds_ns` is a list of rounds of nanoseconds. EP612."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing("parquet", error) from error
    kinds = {"text": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    fields = [(name, kinds[kind]) for name, kind in table.COLUMNS.items()]
    samples = ("rounds_ns", pyarrow.list_(pyarrow.list_(pyarrow.int64())))
    rows = [
        {name: _cell(value) for name, value in row.items()} | {"rounds_ns": measured.rounds}
        for row, measured in table.rows(runs)
    ]
    made = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([*fields, samples]))
    with whole_file(target) as file:
        parquet.write_table(made, file, compression="zstd")
    return f"{len(rows)} measurements with their samples"


def _cell(value: Any) -> Any:
    # Arrow's strings are UTF-8: a lone surrogate has none.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
