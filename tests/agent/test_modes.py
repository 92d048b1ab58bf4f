"""The modes of measuring, batches, thread sweeps and the time line, through the real agent."""

from __future__ import annotations

import itertools
import math
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from edgepack_agent import modes
from edgepack_agent.job import Settings
from edgepack_agent.measure import Bench
from edgepack_agent.subject import Visit

from edgepack.fleet.report import RECEIVED_BYTES

from .host import DATA, Event, Host, make_job

Job = Callable[..., tuple[Event, dict[str, bytes]]]


def settings(**changed: object) -> Settings:
    job, _ = make_job({"m": b"x"})
    return Settings(**{**job["settings"], **changed})


def test_a_long_job_spreads_its_samples() -> None:
    assert modes.turn(settings(max_s=20), 4000, 1).n == 1000
    assert modes.turn(settings(max_s=20), 10**9, 1) == modes.Turn(1, 0)
    n, settle = modes.turn(settings(max_s=600, mode="sustained"), 4000, 1)
    assert n * 600 / 0.05 <= modes.MAX_SAMPLES
    assert (n + settle) * 4000 == modes.LONG_NS, "the board is never idle"


@pytest.mark.parametrize(
    ("p50_us", "n", "settle"),
    [(2, 1000, 100), (1000, 10, 1), (4000, 3, 1), (20_000, 2, 1), (30_000, 1, 0), (10**6, 1, 0)],
)
def test_a_turn_is_short_but_for_slow_models(p50_us: int, n: int, settle: int) -> None:
    assert modes.turn(settings(max_s=20), p50_us * 1000, 2) == modes.Turn(n, settle)


def test_neighbouring_turns_count_once_until_they_are_forty_milliseconds() -> None:
    def visits(*spans_ms: int) -> list[Visit]:
        return [Visit(at, 0, ms * 10**6, 1, at, float(at)) for at, ms in enumerate(spans_ms)]

    assert modes.stretches(visits()) == []
    assert modes.stretches(visits(10)) == [0]
    assert modes.stretches(visits(50, 60, 70)) == [0, 1, 2]
    assert len(modes.stretches(visits(*[10] * 40))) == 10
    assert modes.stretches(visits(40, 10, 10, 10, 10, 10)) == [0, 3], "a rest joins the last"


@pytest.mark.parametrize("variants", [1, 2, 12, 200])
@pytest.mark.parametrize("launches", [1, 6, 100])
@pytest.mark.parametrize("max_s", [1, 20, 3600])
def test_a_job_of_microseconds_never_sends_more_than_the_host_takes(
    variants: int, launches: int, max_s: float
) -> None:
    """Every launch ends with a whole round, also where its samples are used up before."""
    turn = modes.turn(settings(max_s=max_s), 2000, variants * launches)
    visited = [SimpleNamespace(visits=[], turn=turn) for _ in range(variants)]
    bench: Any = SimpleNamespace(_visited=visited, _launches=launches)
    rounds = []
    for bench._launch in range(launches):
        before = len(visited[0].visits)
        while len(visited[0].visits) == before or not Bench._used_up(bench, math.inf):
            for subject in visited:
                subject.visits.append(None)
        rounds.append(len(visited[0].visits) - before)
    sent = turn.n * variants * sum(rounds)
    assert sent * 8 <= RECEIVED_BYTES * 3 // 4, "a quarter is left for the outputs"
    assert max(rounds) <= min(rounds) + 1, "and none takes the others' share"


@pytest.mark.parametrize(
    ("changes", "queries", "spent_ns", "flag"),
    [
        ({"mode": "single-stream", "min_s": 1, "min_queries": 64}, 64, 10**9, ""),
        ({"mode": "single-stream", "min_s": 1, "min_queries": 64}, 63, 10**9, "too-few-queries"),
        ({"mode": "single-stream", "min_s": 2, "min_queries": 64}, 64, 10**9, "too-few-queries"),
        ({"mode": "latency"}, 10**6, 10**12, "not-converged"),
        ({"mode": "sustained"}, 1, 1, ""),
    ],
)
def test_what_was_not_measured_enough_is_flagged(
    changes: dict[str, object], queries: int, spent_ns: int, flag: str
) -> None:
    medians = [1000, 2000, 3000, 4000, 5000, 6000]
    assert modes.shortfall(settings(**changes), medians, queries, spent_ns) == flag


def test_single_stream_goes_on_until_it_has_its_queries(host: Host, job: Job) -> None:
    host.serve(*job(mode="single-stream", min_s=0.2, min_queries=3000, max_s=30))
    for name, result in host.results().items():
        assert result["mode"] == "single-stream"
        assert len(host.latencies(name)) >= 3000
        assert "too-few-queries" not in result["flags"]


@pytest.mark.parametrize(
    ("changes", "p50s_ns", "launches"),
    [
        ({"launches": None}, [2_000, 900_000], 6),
        ({"launches": None}, [60_000, 900_000], 1),
        ({"launches": None, "mode": "sustained"}, [2_000], 1),
        ({"launches": None}, [], 1),
        ({"launches": 3}, [900_000], 3),
    ],
)
def test_short_inferences_are_measured_in_several_processes(
    changes: dict[str, object], p50s_ns: list[int], launches: int
) -> None:
    assert modes.launches(settings(**changes), p50s_ns) == launches


def test_every_launch_has_new_processes_and_rounds_of_all(host: Host, job: Job) -> None:
    host.serve(*job(launches=3, min_rounds=9, ci=1.0, max_s=30.0))
    results = host.results()
    rounds = {
        name: [e["round"] for e in host.all("samples") if e["variant"] == name] for name in results
    }
    for name, result in results.items():
        assert result["status"] == "ok"
        assert len(result["launches"]) == 3
        assert result["launches"][0] == 0
        assert rounds[name] == list(range(result["rounds"])), "numbered on from launch to launch"
        ends = [*result["launches"], result["rounds"]]
        assert all(b - a >= 3 for a, b in itertools.pairwise(ends))
    loads = [e["stage"] for e in host.all("progress")].count("warmup")
    assert loads == 3 * len(results), "every process warms up anew"
    assert len({tuple(result["launches"]) for result in results.values()}) == 1


def test_the_last_launch_is_measured_when_time_is_short(host: Host, job: Job) -> None:
    host.serve(*job(launches=4, min_rounds=100000, ci=1e-6, max_s=0.0))
    for result in host.results().values():
        assert result["launches"] == [0, 1, 2, 3]
        assert "not-converged" in result["flags"]


def test_a_batch_is_one_inference(host: Host, job: Job) -> None:
    host.serve(*job(batch=3, mode="offline"))
    for result in host.results().values():
        assert (result["status"], result["batch"]) == ("ok", 3)
        assert result["quality"]["value"] == 1.0, "quality is judged sample by sample"


def test_a_model_that_cannot_be_batched_is_unsupported(host: Host) -> None:
    fixed = (DATA / "fixed_batch.tflite").read_bytes()
    host.serve(*make_job({"fixed": fixed}, batch=4))
    result = host.results()["fixed"]
    assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
    assert "batches" in result["error"]["what"]


def test_other_thread_counts_are_measured_in_the_same_rounds(host: Host, job: Job) -> None:
    message, blobs = job(sweep_threads=[2, 3], ci=1.0, min_rounds=6, max_s=30.0)
    del message["variants"][1]
    host.serve(message, blobs)
    (result,) = host.results().values()
    assert result["threads"] == 1
    assert [point["threads"] for point in result["sweep"]] == [2, 3]
    clean = result["rounds"] - len(result["excluded"])
    for point in result["sweep"]:
        assert 6 <= len(point["medians_ns"]) <= clean
        assert min(point["medians_ns"]) > 0
    told = {(event["variant"], event["round"]) for event in host.all("samples")}
    assert len(told) == len(host.all("samples")), "the samples are those of the first count alone"


def test_a_thread_count_that_fails_leaves_the_variant_its_result(host: Host, job: Job) -> None:
    message, blobs = job(sweep_threads=[2], min_rounds=100000, max_s=3.0)
    del message["variants"][1]
    host.send(message)
    host.push(blobs)
    host.until("samples")
    host.signal_worker(1, signal.SIGKILL)  # children are in the order of their start
    host.rest()
    (result,) = host.results().values()
    assert (result["status"], result["quality"]["value"]) == ("ok", 1.0)
    assert "sweep-incomplete" in result["flags"]
    assert any("with 2 threads: crashed" in event["message"] for event in host.all("log"))


def test_sustained_fills_its_time_and_tells_the_time_line(host: Host, job: Job) -> None:
    events = host.serve(*job(mode="sustained", max_s=2, min_rounds=1, ci=1.0))
    starts = [event["start_ns"] for event in events if event["event"] == "samples"]
    (timeline,) = host.all("timeline")
    assert timeline["rows"], "sampled beside the rounds"
    assert all(len(row) == len(timeline["columns"]) for row in timeline["rows"])
    assert timeline["cost"] > 0
    assert timeline["start_ns"] <= max(starts)
    assert all(result["excluded"] == [] for result in host.results().values())


def test_a_stopped_child_is_located_and_measured_again(host: Host, job: Job) -> None:
    """SIGSTOP in mid-run: the board's word is silent, the rounds show it.

    With a model of milliseconds, so that every round of that time is hit, on a busy machine too.
    """
    wide = (DATA / "convolution_wide.tflite").read_bytes()
    message, blobs = make_job({"wide": wide}, max_s=12.0, min_rounds=100000)
    host.send(message)
    host.push(blobs)
    for _ in range(20):
        host.until("samples")
    for _ in range(12):  # nearly always stopped, for about three seconds
        host.signal_worker(-1, signal.SIGSTOP)
        time.sleep(0.24)
        host.signal_worker(-1, signal.SIGCONT)
        time.sleep(0.03)
    host.rest()
    (result,) = host.results().values()
    assert "disturbed" in result["flags"]
    (timeline,) = host.all("timeline")
    assert timeline["disturbances"]
