"""The fan-out through other machines' executors: any `concurrent.futures` one, and dask's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgepack import fleet
from edgepack.errors import EdgepackError
from edgepack.fleet.engine import Engine
from edgepack.model import Device, Job, Status

from . import package
from .sshd import Sshd
from .test_provision import EDGEPACK, edgepack, register

Make = Callable[..., Job]


def quiet(event: object) -> None:
    """Progress is not looked at."""


def test_any_executor_runs_the_jobs(board: Sshd, make_job: Make) -> None:
    with ThreadPoolExecutor(2) as pool:
        (report,) = fleet.run_jobs_on(Engine(executor=pool), [make_job(board.device())], emit=quiet)
    assert report.failure is None
    assert [m.status for m in report.measurements] == [Status.OK, Status.OK]


def test_a_worker_that_dies_is_a_failure_of_its_job(board: Sshd, make_job: Make) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()
        job = make_job(board.device())

        def kill() -> None:
            while not board.processes():
                time.sleep(0.05)
            for process in pool._processes.values():
                process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        (report,) = fleet.run_jobs_on(Engine(executor=pool), [job], emit=quiet)
        killer.join()
    assert report.failure is not None
    assert report.failure.code == "EP407"
    assert "--resume" in report.failure.hint
    assert board.free()


def test_a_ctrl_c_ends_what_runs_elsewhere(board: Sshd, cluster: Any, tmp_path: Path) -> None:
    register(board, name="board")
    package.write(tmp_path / "pack")
    engine = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
    words = ["bench", str(tmp_path / "pack"), "-d", "board", "--engine", engine, "--json"]
    words += ["--mode", "sustained", "--max-seconds", "300", "--timeout", "400"]
    process = subprocess.Popen(
        [*EDGEPACK, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(board.processes()) < 3:  # the agent, and a worker for each variant
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(10.0)  # loaded, warmed up, and some rounds: 2 s do where nothing else runs
    process.send_signal(signal.SIGINT)
    said, progress = process.communicate(timeout=100)
    assert process.returncode == 130, progress
    assert "Traceback" not in progress
    assert board.free()
    found = {one["variant"]: one for one in json.loads(said)["measurements"]}
    assert set(found) == {"float", "int8"}
    for one in found.values():  # what was measured until then is kept
        assert (one["status"], "cancelled" in one["flags"]) == ("ok", True)
        assert one["latency_us"]["n"] > 0


def test_this_machine_is_refused(make_job: Make) -> None:
    job = make_job(Device(name="local", profile="desktop", transport="local"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(EdgepackError) as refused:
        list(fleet.run_jobs_on(Engine(executor=pool), [job], emit=quiet))
    assert refused.value.code == "EP105"


def test_an_engine_that_is_not_there_is_told() -> None:
    for url, code in (("slurm://x", "EP105"), ("dask://", "EP105")):
        with pytest.raises(EdgepackError) as told, fleet.opened(url):
            pass
        assert told.value.code == code


@pytest.fixture
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
    ) as made:
        yield made


def test_dask_finishes_what_a_killed_worker_left(
    start_sshd: Callable[..., Sshd], cluster: Any, tmp_path: Path
) -> None:
    boards = [start_sshd(name) for name in ("one", "two", "three")]
    for number, board in enumerate(boards):
        register(board, name=f"board{number}")
    package.write(tmp_path / "pack")
    killed: list[int] = []

    over = threading.Event()

    def kill_one() -> None:
        while not boards[0].processes():
            if over.wait(0.05):
                return
        killed.append(next(iter(cluster.workers.values())).pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    engine = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
    words = ["bench", str(tmp_path / "pack"), "-d", "board*", "--engine", engine, "--json"]
    done = edgepack(*words, "--max-seconds", "2", "--timeout", "100")
    over.set()
    killer.join()
    assert done.returncode == 0, done.stderr
    assert killed
    assert done.stdout.count('"status": "ok"') == 6  # two variants on each, once
    for board in boards:
        assert board.free()
        assert not list(board.home.rglob("*.part"))
