"""The house rules that no linter holds: files that a person reads in one sitting."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
MEDIAN_LINES = 150
FOLDERS = ("edgepack", "device_agents", "tests", "benchmarks", "docs", "examples")


def lengths(folder: str) -> dict[str, int]:
    """Lines of every source file below the folder."""
    return {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for ending in ("py", "c", "j2", "js", "css")
        for file in (ROOT / folder).rglob(f"*.{ending}")
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_too_long_to_read(folder: str) -> None:
    assert {name: count for name, count in lengths(folder).items() if count > MOST_LINES} == {}


def test_most_files_are_short() -> None:
    every = [count for folder in FOLDERS for count in lengths(folder).values()]
    assert statistics.median(every) <= MEDIAN_LINES
