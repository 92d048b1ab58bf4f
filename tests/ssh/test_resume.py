"""Runs whose host or device dies on the way are finished later: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack import config
from edgepack.registry import Registry
from edgepack.store import is_final, open_store

from . import package
from .sshd import Sshd

EDGEPACK = [sys.executable, "-m", "edgepack.cli.main"]
SHORT = ["--max-seconds", "0.6", "--timeout", "60", "--wait", "20"]


def register(*boards: Sshd) -> list[str]:
    """Register them; the words that choose them."""
    registry = Registry(config.devices_file())
    words = []
    for number, board in enumerate(boards):
        registry.add(board.device(f"board{number}"))
        words += ["-d", f"board{number}"]
    return words


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*EDGEPACK, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(*words: str) -> tuple[int, dict]:
    process = start(*words, "--json")
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, json.loads(out) if out else {"stderr": err}


def kept() -> dict[tuple[str, str], object]:
    """What the store holds as measured."""
    with open_store(config.store_url()) as store:
        found = store.load("latest").measurements
    assert len({(m.device, m.variant) for m in found}) == len(found) == 4
    return {(m.device, m.variant): m for m in found if is_final(m)}


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_host_loses_nothing(
    start_sshd: Callable[..., Sshd], tmp_path: Path, seed: int
) -> None:
    boards = [start_sshd("one"), start_sshd("two")]
    package.write(tmp_path / "pack")
    process = start("bench", str(tmp_path / "pack"), *register(*boards), *SHORT, "-v")
    assert process.stderr is not None
    while not process.stderr.readline().startswith("run 20"):
        assert process.poll() is None
    time.sleep(random.Random(seed).uniform(0.0, 6.0))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = kept()
    code, document = finished("run", "--resume", "latest")
    assert code == 0, document
    after = kept()
    assert len(after) == 4
    assert before.items() <= after.items()
    for board in boards:
        assert board.free()
        assert not list(board.home.rglob("*.part"))
    code, again = finished("run", "--resume", document["run_id"])
    assert code == 0
    assert again == document  # nothing was left to measure
    assert kept() == after


def test_only_what_is_missing_is_measured(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    boards = [start_sshd("one"), start_sshd("two")]
    package.write(tmp_path / "pack")
    words = register(*boards)
    boards[1].stop()
    code, document = finished("bench", str(tmp_path / "pack"), *words, *SHORT)
    assert code == 4
    by_device = {m["device"]: m["status"] for m in document["measurements"]}
    assert by_device == {"board0": "ok", "board1": "unreachable"}
    before = kept()
    boards[0].stop()  # it must not be needed again
    boards[1].start()
    code, document = finished("run", "--resume", document["run_id"])
    assert code == 0, document
    assert before.items() <= kept().items()
    with open_store(config.store_url()) as store:
        assert len(store.list()) == 1
    assert not any("resumed" in m["flags"] for m in document["measurements"])


def test_another_package_is_not_the_same_run(board: Sshd, tmp_path: Path) -> None:
    package.write(tmp_path / "pack")
    words = register(board)
    finished("bench", str(tmp_path / "pack"), *words, *SHORT)
    (tmp_path / "pack" / "manifest.json").unlink()
    code, document = finished("run", "--resume", "latest")
    assert code == 3
    assert "EP208" in document["stderr"]


def test_what_a_resumed_run_would_ignore_is_refused() -> None:
    code, document = finished("run", "--resume", "latest", "--threads", "2")
    assert code == 2
    assert "--threads" in document["stderr"]
    assert finished("run", "--resume", "latest")[0] == 2
