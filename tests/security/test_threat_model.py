"""docs/security.md names a test for every defence, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and "::" in line
]
THREATS = (
    "Hostile model file",
    "Hostile device",
    "Man in the middle",
    "Stolen laptop",
    "Hostile report",
    "Path injection",
    "Shell injection",
    "Tampered build cache",
    "Tampered store",
    "Supply-chain swap",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_defence_names_a_test_that_exists(row: list[str]) -> None:
    threat, defence, named = row
    assert threat and defence
    found = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", named)
    assert found, named
    tree = ast.parse((ROOT / found[1]).read_text(encoding="utf-8"))
    assert found[2] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("threat", THREATS)
def test_no_threat_is_without_a_defence(threat: str) -> None:
    assert any(row[0].startswith(threat) for row in ROWS)
