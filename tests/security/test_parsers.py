"""Drawn bytes into every parser that meets foreign bytes: a value or one coded error.

200 examples each in CI (docs/security.md says how to run more, and with coverage as the guide).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Require
from tests.security import parsers

ROOT = Path(__file__).resolve().parents[2]

NAMES = parsers.NAMES
EXAMPLES = int(os.environ.get("EDGEPACK_FUZZ_EXAMPLES", "200"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """The good bytes with a few places overwritten, cut out, doubled or cut off."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.integers(0, 12)))
        piece = draw(st.binary(max_size=12) | st.just(bytes(content[start:stop]) * 2))
        content[start:stop] = piece
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@pytest.mark.parametrize("name", NAMES)
def test_the_parser_takes_what_is_undamaged(name: str, tmp_path: Path) -> None:
    parser = parsers.every()[name]
    (tmp_path / parser.file).write_bytes(parser.good)
    parser.parse(tmp_path / parser.file)


@pytest.mark.parametrize("name", NAMES)
@fuzzed
@given(drawn=st.data())
def test_drawn_bytes_are_a_value_or_a_coded_error(
    name: str, tmp_path: Path, drawn: st.DataObject
) -> None:
    parser = parsers.every()[name]
    path = tmp_path / parser.file
    path.write_bytes(drawn.draw(damaged(parser.good) | st.binary(max_size=200)))
    try:
        parser.parse(path)
    except parser.refusals as error:
        assert getattr(error, "hint", "none is due"), error
        assert not isinstance(error, MemoryError)


def test_every_parser_is_fuzzed() -> None:
    assert set(NAMES) == set(parsers.every())


def test_the_fuzzer_that_coverage_guides_runs_and_finds_what_is_wrong(require: Require) -> None:
    require(importlib.util.find_spec("atheris"), "atheris (pip install atheris)")
    done = fuzz("planted", "--runs", "500000")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ZeroDivisionError" in done.stdout


def fuzz(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.security.fuzz", "--parser", name, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
