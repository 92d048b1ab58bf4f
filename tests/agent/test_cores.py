"""The cores that variants run on: the same for all of a round, drawn anew for the next."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from unittest import mock

import pytest
from edgepack_agent import cores

from .host import DATA, Host, make_job


def board(root: Path, **files: list[int]) -> Path:
    """A sysfs in which core i has the i-th value of each file."""
    for name, values in files.items():
        for core, value in enumerate(values):
            file = root / f"sys/devices/system/cpu/cpu{core}" / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu_capacity": [446, 446, 1024, 1024]}, [2, 3]),
        ({"cpufreq__cpuinfo_max_freq": [1_800_000, 1_800_000, 2_400_000, 2_256_000]}, [2, 3]),
        ({"cpufreq__cpuinfo_max_freq": [5_000_000, 5_000_000, 5_100_000, 4_900_000]}, [0, 1, 2, 3]),
        ({}, [0, 1, 2, 3]),
        # The capacity is what the kernel places work by; clocks do not compare kinds of cores.
        ({"cpu_capacity": [400, 1024], "cpufreq__cpuinfo_max_freq": [2_000_000] * 2}, [1]),
    ],
)
def test_slow_cores_are_left_out(
    tmp_path: Path, files: dict[str, list[int]], expected: list[int]
) -> None:
    count = max([len(values) for values in files.values()], default=4)
    with mock.patch.object(os, "sched_getaffinity", return_value=set(range(count))):
        assert cores.fastest("cpu", board(tmp_path, **files)) == expected
        assert cores.fastest("gpu", board(tmp_path, **files)) == []


def test_only_what_the_process_may_use(tmp_path: Path) -> None:
    with mock.patch.object(os, "sched_getaffinity", return_value={0, 1}):
        assert cores.fastest("cpu", board(tmp_path, cpu_capacity=[400, 400, 1024, 1024])) == [0, 1]


def test_all_threads_of_the_process_are_bound() -> None:
    before = os.sched_getaffinity(0)
    stop = threading.Event()
    helper = threading.Thread(target=stop.wait)
    helper.start()
    try:
        assert helper.native_id is not None
        cores.stay_on([min(before)])
        assert os.sched_getaffinity(0) == {min(before)}
        assert os.sched_getaffinity(helper.native_id) == {min(before)}
    finally:
        cores.stay_on(sorted(before))
        stop.set()
        helper.join()
    assert os.sched_getaffinity(0) == before


def test_the_workers_of_a_round_are_on_one_core(host: Host) -> None:
    """As the kernel has it while they measure; the agent itself stays free."""
    content = (DATA / "convolution_wide.tflite").read_bytes()
    variants = {"a": content, "b": content}
    host.send((job := make_job(variants, min_rounds=100000, max_s=30.0))[0])
    host.push(job[1])
    allowed = os.sched_getaffinity(0)
    seen = set()
    for _ in range(24):
        event = host.until("samples")
        bound = {frozenset(os.sched_getaffinity(pid)) for pid in host.workers()}
        if event["round"] > 1:
            assert all(len(on) == 1 for on in bound)
            seen |= bound
    assert os.sched_getaffinity(host.process.pid) == allowed
    (told,) = host.all("environment")
    used = {core for on in seen for core in on}
    assert used <= set(told["environment"]["cores"]) <= allowed
    assert len(used) > 1 or len(allowed) == 1
    host.send({"type": "cancel"})
    host.rest()


def test_more_threads_than_cores_are_the_kernels_business(host: Host) -> None:
    threads = len(os.sched_getaffinity(0)) + 1
    model = {"m": (DATA / "convolution_wide.tflite").read_bytes()}
    message, blobs = make_job(model, min_rounds=100000, max_s=20.0)
    message["threads"] = threads
    host.send(message)
    host.push(blobs)
    for _ in range(3):
        host.until("samples")
    (worker,) = host.workers()
    assert os.sched_getaffinity(worker) == os.sched_getaffinity(0)
    host.send({"type": "cancel"})
    host.rest()
