"""What tests start ends with them, also when they are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLDER = """
import sys
from tests.leash import Leash
leash = Leash("echo over > " + sys.argv[1])
if sys.argv[2] == "release":
    leash.release()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["killed", "release"])
def test_the_line_is_run_when_the_process_was_killed_and_not_when_it_let_go(
    tmp_path: Path, way: str
) -> None:
    mark = tmp_path / "mark"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(mark), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
    holder.kill()
    holder.communicate()
    if way == "release":
        time.sleep(0.3)
        assert not mark.exists()
        return
    end = time.monotonic() + 30
    while not mark.exists():
        assert time.monotonic() < end, "nothing was run"
        time.sleep(0.02)
