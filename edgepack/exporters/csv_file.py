"""Runs as CSV (RFC 4180, UTF-8): one row a measurement, with statistics and without samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from edgepack.exporters import table, whole_file
from edgepack.model import Run
from edgepack.report.text import plain

# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@")


def export(runs: Sequence[Run], target: str) -> str:
    """Write one row a measurement. EP612."""
    with whole_file(target) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, list(table.COLUMNS))
        writer.writeheader()
        count = 0
        for row, _ in table.rows(runs):
            writer.writerow({name: _cell(value) for name, value in row.items()})
            count += 1
        text.flush()
        text.detach()
    return f"{count} measurements"


def _cell(value: Any) -> Any:
    """A text of one harmless line; a spreadsheet shows it and computes nothing."""
    if not isinstance(value, str):
        return value
    said = plain(value)
    return f"'{said}" if said.startswith(_FORMULA) else said
