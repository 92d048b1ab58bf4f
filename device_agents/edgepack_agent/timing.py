"""Timed single inferences, and what the timer itself costs."""

import base64
import functools
import gc
import statistics
import sys
import time
import zlib
from array import array
from typing import Any, Callable, Dict, List

from edgepack_agent import steady

BLOCK_BYTES = 4 << 20  # prepared samples held at a time
LEAST_WARMUP = 8  # inferences: fewer have no level
LONGEST_TRACE = 20_000  # last inferences that a steady state is looked for in


def timer_cost_ns(runtime: Any, repeats: int = 1000) -> int:
    """Median time between two readings, with nothing in between, of the clock that times this
    runtime's inferences."""
    return int(statistics.median((runtime.clock or _between_readings)(repeats)))


def _between_readings(repeats: int) -> "array[int]":
    clock = time.perf_counter_ns
    costs = array("Q")
    for _ in range(repeats):
        start = clock()
        costs.append(clock() - start)
    return costs


class Feed:
    """Prepared samples, going round and round through `order` in blocks of little memory."""

    def __init__(self, get: Callable[[int], List[Any]], order: List[int]) -> None:
        self._get = get
        self._order = order
        self._next = 0

    def block(self, at_most: int) -> List[List[Any]]:
        """The next samples, prepared: at least one, at most `at_most`."""
        block: List[List[Any]] = []
        size = 0
        while len(block) < at_most and size < BLOCK_BYTES:
            sample = self._get(self._order[self._next])
            self._next = (self._next + 1) % len(self._order)
            block.append(sample)
            size += sum(value.nbytes for value in sample)
        return block


def run(runtime: Any, feed: Feed, n: int, whole: bool = False) -> "array[int]":
    """Latencies of `n` single inferences in nanoseconds, in order.

    Only `invoke` is timed, as benchmark_model does: what a sample costs to bring in depends on
    where an application has it. Inputs change with every inference, and are prepared in blocks
    outside the timed span; so is the garbage collector, which stays off. `whole`: from the copying
    in of one sample to that of the next instead, which is what throughput is made of.
    """
    run_block = runtime.run_block or functools.partial(_run_block, runtime)
    latencies = array("Q")
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(latencies) < n:
            latencies.extend(run_block(feed.block(n - len(latencies)), whole))
    finally:
        if collecting:
            gc.enable()
    return latencies


def _run_block(runtime: Any, block: List[List[Any]], whole: bool) -> "array[int]":
    latencies = array("Q")
    set_inputs, invoke, clock = runtime.set_inputs, runtime.invoke, time.perf_counter_ns
    start = clock()
    for sample in block:
        set_inputs(sample)
        if not whole:
            start = clock()
        invoke()
        ended = clock()
        latencies.append(ended - start)
        start = ended
    return latencies


def warm_up(runtime: Any, feed: Feed, seconds: float, most_s: float) -> Dict[str, Any]:
    """Run until the times are steady; the `warmup` field of the result.

    At least `seconds` and LEAST_WARMUP inferences, then until the trace so far has a steady
    state or `most_s` are over; the trace is judged each time it has grown by half, because
    judging takes time too. p50_ns is over the steady part, or the second half without one.
    """
    latencies = array("Q")
    start = time.monotonic()
    judge_at, steady_at = LEAST_WARMUP, None
    while True:
        latencies.extend(run(runtime, feed, max(1, min(100, judge_at - len(latencies)))))
        spent = time.monotonic() - start
        late = spent >= max(seconds, most_s)
        if len(latencies) < LEAST_WARMUP or (spent < seconds and not late):
            continue
        if len(latencies) >= judge_at or late:
            judge_at = len(latencies) * 3 // 2
            steady_at = steady.steady_from(latencies[-LONGEST_TRACE:])
            if steady_at is not None or late:
                break
    from_index = len(latencies) // 2
    if steady_at is not None:
        from_index = steady_at + max(0, len(latencies) - LONGEST_TRACE)
    return {
        "n": len(latencies),
        "seconds": spent,
        "p50_ns": int(statistics.median(latencies[from_index:])),
        "steady": steady_at is not None,
        "steady_s": None if steady_at is None else sum(latencies[:from_index]) / 1e9,
    }


def pack(data: bytes) -> str:
    """Base64 of zlib, as events carry binary data. Level 1: the board is the slow side."""
    return base64.b64encode(zlib.compress(data, 1)).decode("ascii")


def pack_ns(latencies: "array[int]") -> str:
    """The `ns` field of `samples`: little-endian uint64."""
    if sys.byteorder == "big":
        latencies = latencies[:]
        latencies.byteswap()
    return pack(latencies.tobytes())
