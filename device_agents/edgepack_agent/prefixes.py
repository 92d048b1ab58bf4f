"""Time per operation where no profiler is to be had: the graph is cut off after each operation, and
an operation takes what the graph with it takes longer than the graph without it.

An estimate: a runtime may fuse operations across the cut, and makes the results at the cut
available, which costs a copy at most. Each two neighbouring cuts are timed in turns, so that
the board's drift hits both.
"""

import struct
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from edgepack_agent.errors import AgentError
from edgepack_agent.flatcut import Graph

SECONDS = 3.0  # for all cuts together, as far as RUNS allow
LIMIT_S = 120.0
RUNS = (3, 300)  # turns of each two cuts: at least, at most
MOST_OPS = 2000

Open = Callable[[bytes], Callable[[], Any]]


def profile(
    path: str, load: Open, nodes: Sequence[Tuple[str, str]], inside: Dict[int, int]
) -> Dict[str, Any]:
    """The `ops` event's fields. AgentError EP502 (not to be cut), EP408 (it would take too long).

    Args:
        load: gives what runs one inference of a file's content.
        nodes: name and number format of the operations, in order.
        inside: the delegate's partition by the number of the operation, of those that it took.
    """
    graph = _graph(path)
    if len(graph.ops) != len(nodes):
        raise _failed("%d operations in the file, %d loaded" % (len(graph.ops), len(nodes)))
    began = time.monotonic()
    added, total_ns, least = [], 0, RUNS[1]
    before = _empty(graph, load)
    for count in range(1, len(nodes) + 1):
        if time.monotonic() - began > LIMIT_S:
            raise AgentError(
                "EP408",
                "timing the graph after each of its %d operations takes more than %d s"
                % (len(nodes), LIMIT_S),
                "Profile it with ai-edge-litert 2.3 on the CPU, which has a profiler.",
            )
        run = load(graph.cut(count))
        seconds = (began + SECONDS - time.monotonic()) / (len(nodes) + 1 - count)
        longer_ns, total_ns, turns = _in_turns(before, run, seconds)
        added.append(max(0, longer_ns))
        least = min(least, turns)
        before = run
    ops = [
        {"name": name, "type": number, "index": i, "partition": inside.get(i), "ns": ns}
        for i, ((name, number), ns) in enumerate(zip(nodes, added))
    ]
    return {"runs": least, "total_ns": total_ns, "estimated": True, "ops": ops}


def _graph(path: str) -> Graph:
    try:
        graph = Graph(Path(path).read_bytes())
    except struct.error as error:
        raise _failed(str(error)) from None
    if not 0 < len(graph.ops) <= MOST_OPS:
        raise _failed("a graph of %d operations" % len(graph.ops))
    return graph


def _in_turns(
    before: Callable[[], Any], run: Callable[[], Any], seconds: float
) -> Tuple[int, int, int]:
    """By how much `run` takes longer than `before`, how long it takes (both in nanoseconds), and
    how often that was timed."""
    clock = time.perf_counter_ns
    before()
    run()  # once each that does not count
    without: List[int] = []
    took: List[int] = []
    ends = time.monotonic() + seconds
    while len(took) < RUNS[0] or (len(took) < RUNS[1] and time.monotonic() < ends):
        first = clock()
        before()
        second = clock()
        run()
        without.append(second - first)
        took.append(clock() - second)
    return _fast(took) - _fast(without), _fast(took), len(took)


def _fast(values: Sequence[int]) -> int:
    """The mean of the fastest quarter: a difference must not hold what interrupted either."""
    fastest = sorted(values)[: max(1, len(values) // 4)]
    return sum(fastest) // len(fastest)


def _empty(graph: Graph, load: Open) -> Callable[[], Any]:
    """The graph before its first operation: what an inference costs that does nothing."""
    try:
        return load(graph.cut(0))
    except (ValueError, RuntimeError):  # a runtime that takes none without operations
        return _nothing


def _nothing() -> None:
    """Nothing at all."""


def _failed(what: str) -> AgentError:
    return AgentError(
        "EP502", "no profile of operations: %s" % what, "Profile with ai-edge-litert 2.3."
    )
