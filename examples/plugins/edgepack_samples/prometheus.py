"""`edgepack runs export RUN --format prometheus -o runs.prom`: latencies for a node exporter's
text-file collector."""

from __future__ import annotations

from collections.abc import Sequence

from edgepack.exporters import table, whole_file
from edgepack.model import Run

_METRIC = "edgepack_latency_p50_seconds"


def export(runs: Sequence[Run], target: str) -> str:
    """Write one line a measurement. EP612 when the file cannot be written."""
    lines = [f"# TYPE {_METRIC} gauge"]
    for row, _ in table.rows(runs):
        if row["latency_p50_us"] is not None:
            names = ("run_id", "device", "variant")
            labels = ",".join(f'{name}="{_escaped(str(row[name]))}"' for name in names)
            lines.append(f"{_METRIC}{{{labels}}} {row['latency_p50_us'] / 1e6:.9g}")
    with whole_file(target) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    return f"{len(lines) - 1} measurements"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
