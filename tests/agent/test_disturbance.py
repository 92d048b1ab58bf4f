"""Disturbances in known traces: found where they are, and none where there is none."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from edgepack_agent import disturbance
from edgepack_agent.child import Nursery
from edgepack_agent.cpu import CpuMeter
from edgepack_agent.measure import Bench
from edgepack_agent.modes import Turn
from edgepack_agent.subject import Visit

from benchmarks import disturbances, disturbed
from edgepack.agent import bundle

from .host import DATA, Host, make_job


def test_found_and_no_false_alarm() -> None:
    recall, false_alarms = disturbed.score(count=25, seed=5)
    assert min(recall.values()) >= 0.9, recall
    assert sum(recall.values()) / len(recall) >= 0.95, recall
    assert false_alarms <= 0.02


def test_a_disturbance_is_located_in_rounds_and_time() -> None:
    case = disturbed.case("throttled", seed=2)
    found = disturbed.judged(case)
    assert found.disturbances[0].kind == "throttled"
    first, last = case.rounds[0], case.rounds[-1]
    assert abs(min(found.excluded) - first) <= 5 and abs(max(found.excluded) - last) <= 5


def test_what_is_there_all_the_time_is_no_disturbance() -> None:
    case = disturbed.case("clean", seed=3)
    busy = [[*row[:5], 1.8, *row[6:]] for row in case.rows]
    assert disturbed.judged(case._replace(rows=busy)).excluded == set()


def test_a_variant_that_came_late_keeps_its_rounds() -> None:
    """Time was up soon after its first turn, and its only rounds are the disturbed ones."""
    case = disturbed.case("throttled", seed=2)
    late = [visit for visit in case.visits[0] if visit.round in case.rounds]
    assert disturbed.judged(case).excluded
    assert disturbed.judged(case._replace(visits=[*case.visits, late])).excluded == set()


def test_a_variant_that_crashed_does_not_keep_the_others_rounds() -> None:
    case = disturbed.case("throttled", seed=2)
    crashed = SimpleNamespace(alive=False, visits=[case.visits[0][case.rounds[0]]])
    subjects = [SimpleNamespace(alive=True, visits=visits) for visits in case.visits]
    bench: Any = SimpleNamespace(
        _visited=[*subjects, crashed],
        _sampler=SimpleNamespace(rows=case.rows, start_ns=disturbed.START_NS),
        _job=SimpleNamespace(settings=SimpleNamespace(mode="latency")),
    )
    Bench._judge(bench)
    assert bench.excluded == disturbed.judged(case).excluded != set()


def test_workers_that_did_not_run_are_told_though_their_medians_are_as_usual() -> None:
    """Stopped for 40 ms now and then, from 5 s to 6.5 s: every third turn shows it."""
    step, turn = 25 * 10**6, 10 * 10**6
    visits = []
    for at in range(600):
        inside = 200 <= at < 260 and at % 3 == 0
        idle = 40 * 10**6 if inside else 10**5
        start = disturbed.START_NS + at * step
        mean = 1e6 + idle / 10
        visits.append(Visit(at, start, turn + idle, 10, 1_000_000 + at % 7 * 900, mean, 0, idle))
    found = disturbance.in_idle_time(visits, disturbed.PERIOD_S)
    (one,) = found
    assert one.kind == "stopped"
    begin, end = ((ns - disturbed.START_NS) / 1e9 for ns in (one.from_ns, one.to_ns))
    assert begin == pytest.approx(5.0, abs=0.26) and end == pytest.approx(6.5, abs=0.26)
    judged = disturbance.judge([visits], [], disturbed.START_NS, disturbed.PERIOD_S)
    assert set(range(205, 255)) <= judged.excluded
    assert "stopped" in {each.kind for each in judged.disturbances}
    calm = [visit._replace(idle_ns=10**5) for visit in visits]
    assert disturbance.in_idle_time(calm, disturbed.PERIOD_S) == []


def test_a_process_that_waits_is_idle_and_one_that_works_is_not() -> None:
    meter = CpuMeter()
    with meter:
        time.sleep(0.05)
    assert meter.idle_ns == pytest.approx(50e6, rel=0.3)
    with meter:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
    assert meter.idle_ns < 45e6, "of the last block alone"


def test_a_turn_tells_how_long_its_worker_did_not_run(tmp_path: Path) -> None:
    """A real worker, stopped for 0.3 s in the middle of a turn of half a second."""
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(bundle().data)
    (job, _), cancelled = make_job({"m": b""}), threading.Event()
    model = str(DATA / "convolution_wide.tflite")
    load = {**job, "do": "load", "runtime": "ai-edge-litert", "api": "interpreter", "path": model}
    subject = SimpleNamespace(visits=[], swept=True, threads=1, turn=Turn(100, 0))
    nursery = Nursery(str(archive))
    worker = nursery.spawn()
    bench: Any = SimpleNamespace(
        _job=SimpleNamespace(settings=SimpleNamespace(mode="latency")),
        _launch=0,
        ask=lambda _, command: worker.ask(command, 60.0, cancelled),
    )
    more = {"spawned_ns": worker.spawned_ns, "data": None, "seed": 0, "batch": 1, "transforms": {}}
    more["task"] = None
    try:
        worker.ask({**load, **more}, 60.0, cancelled)
        Bench._turn(bench, subject, 0, [])
        subject.turn = Turn(int(5e8 / subject.visits[0].mean_ns), 0)
        stop = threading.Timer(0.1, os.kill, (worker.pid, signal.SIGSTOP))
        go_on = threading.Timer(0.4, os.kill, (worker.pid, signal.SIGCONT))
        stop.start()
        go_on.start()
        Bench._turn(bench, subject, 1, [])
        go_on.join()
    finally:
        nursery.kill_all()
    visit = subject.visits[1]
    assert 0.25e9 < visit.idle_ns < visit.span_ns


def test_a_worker_that_is_stopped_now_and_then_is_told(tmp_path: Path) -> None:
    """As `stopped` or, where the machine is so busy that workers wait all the time, as a level."""
    model = {"m": (DATA / "convolution_wide.tflite").read_bytes()}
    job, blobs = make_job(model, ci=1e-6, min_rounds=10**5, max_s=6.0)
    with Host(tmp_path / "home") as host:
        host.send(job)
        host.push(blobs)
        host.until("samples")
        time.sleep(2.0)
        begin = time.monotonic_ns()
        with disturbances.stops(host.workers()[0]):
            time.sleep(1.5)
        end = time.monotonic_ns()
        host.rest()
        (line,) = host.all("timeline")
    told = {number for one in line["disturbances"] for number in one["rounds"]}
    turns = {turn["round"]: turn["start_ns"] for turn in host.all("samples")}
    inside = {number for number, start_ns in turns.items() if begin < start_ns < end}
    assert len(inside & told) > len(inside) / 4 > 0


def test_a_replayed_throttling_is_found_where_it_was_and_nowhere_else() -> None:
    """The sampler, in real time, on the files of a Raspberry Pi that becomes hot once."""
    found = disturbances.on_a_root(6.0, random.Random(2))
    assert (found.found, found.planted) == (1, 1)
    assert found.alarms <= found.quiet / 4, "only where this machine itself stood still"


def test_what_a_benchmark_counts_as_found_and_as_a_false_alarm() -> None:
    second = 10**9
    rounds = [(i * second, (i + 1) * second) for i in range(10)]
    spans = [(2 * second + 1, 4 * second)]  # rounds 2 and 3; 1 and 4 are its edge

    def judged(alarms: list[list[int]], seen: list[int], witness: set[int]) -> Any:
        def beside(places: Collection[int]) -> bool:
            return not witness.isdisjoint(places)

        return disturbances.outcome(rounds, alarms, spans, seen, 0.0, beside)

    both = judged([[2, 3], [8, 9]], [9 * second], set())
    assert (both.found, both.alarms, both.quiet) == (1, 2, 6)
    assert both.unseen == 0, "the machine was seen disturbed beside 8 and 9"
    assert judged([[8, 9]], [], {8}).unseen == 0, "the witness was slower as well"
    missed = judged([[8]], [], {9})
    assert (missed.found, missed.unseen) == (0, 1)
    assert judged([[8]], [], {0, 5, 6, 7, 9}).elsewhere == 1, "a witness that is never calm"


def test_a_witness_is_on_another_level_when_half_of_its_rounds_are() -> None:
    levels = [1000] * 20 + [1050] * 10 + [1000] * 20
    visits = [Visit(at, 0, ns, 1, ns, float(ns)) for at, ns in enumerate(levels)]
    beside = disturbances.Beside(visits, list(range(50)))
    assert beside(range(20, 30)) and beside(range(18, 26))
    assert not beside(range(10)) and not beside(range(10, 24)) and not beside([])
