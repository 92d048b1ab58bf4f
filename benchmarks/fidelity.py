"""Whether the agent's numbers can be trusted: against a C loop, against itself, and on traces.

    python -m benchmarks.fidelity [--only clocks|pairs|traces] [--pairs N] [--models FILE …]

clocks: p50 of each model by the agent (its three interfaces), by a C loop over the same
    libLiteRt.so (made with cc) in this process, and by ai_edge_litert.tools.benchmark_litert_model.
    Short turns in drawn order, each one process of the agent's; both draw a core for every 40 ms.
    Bars: the interface "c" within 2% of the C loop, the interpreter within 2% of the tool.
pairs: A/A and A/B. The agent measures a model under two names beside a neighbour that spins now
    and then, in many pairs of processes; then --pairs windows are drawn from those real traces
    with a seed, each as long as a run that does not converge (20 s): neighbouring rounds of one
    pair of processes, or six launches where the agent itself chooses these. For B the second
    trace is made 5% slower. Every judge sees the same windows. Bars for edgepack's gate, for each
    model: at most 1% of A/A called different, at least 95% of B found.
traces: the steady-state detector, the search for disturbances and LoadGen's totals on synthetic
    traces of known truth. Bars: 95% right; 95% recall and 2% false alarms; equal totals.

Exits 1 below a bar. Timings need a machine with nothing else on it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import disturbed, judges, traces
from benchmarks.c_loop import CLoop
from edgepack import config, fleet
from edgepack.analysis import loadgen, stats
from edgepack.model import (
    Blob,
    Device,
    Job,
    JobSettings,
    Measurement,
    Recipe,
    RuntimeSpec,
    Signature,
    Status,
    Variant,
)

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tests" / "data"
SLOWER = 1.05
RUN_S = JobSettings().max_s
C_LOOP, TOOL = "C loop", "tool"


def one_millisecond(folder: Path) -> Path:
    """Three 3x3 convolutions over 48x48 pixels, untrained: about 1 ms of float on a desktop."""
    import keras

    import edgepack

    layers = [keras.layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(3)]
    source = folder / "convolutions.keras"
    keras.Sequential([keras.Input((48, 48, 16)), *layers]).save(source)
    edgepack.build(source, recipes=["float"], output=folder / "package")
    return next((folder / "package").rglob("*.tflite"))


def measure(
    file: Path,
    names: tuple[str, ...],
    api: str,
    seconds: float,
    launches: int | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """The file under each of the names, in one job of the real agent on this machine."""
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    variants = tuple(
        Variant(
            name=name,
            recipe=Recipe(name=name),
            sha256=digest,
            bytes=len(content),
            gzip_bytes=len(content),
            signature=Signature(inputs=(), outputs=()),
        )
        for name in names
    )
    profile = dataclasses.replace(
        config.load_profile("desktop"),
        runtimes=(RuntimeSpec(name="ai-edge-litert", api=api),),
        threads=1,
    )
    job = Job(
        job_id="fidelity",
        device=Device(name="local", profile="desktop", transport="local", python=sys.executable),
        profile=profile,
        variants=variants,
        data=None,
        blobs=(Blob(sha256=digest, bytes=len(content), path=str(file)),),
        settings=JobSettings(
            max_s=seconds,
            ci=1e-4,
            parity_samples=0,
            launches=launches,
            seed=seed,
            timeout_s=3600,
        ),
    )
    (report,) = fleet.run_jobs([job], emit=lambda _event: None)
    for one in report.measurements:
        if one.status is not Status.OK:
            raise SystemExit(f"{file.name} ({api}): {one.failure}")
    return list(report.measurements)


def peer_us(file: Path) -> float:
    """p50 of ai_edge_litert.tools.benchmark_litert_model, in tens of µs."""
    command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model"]
    command += [f"--model={file}", "--num_runs=1000", "--warmup_runs=100"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"(?:p50|median)\D*([\d.]+)\s*(ms|us)?", done.stdout + done.stderr, re.I)
    if found is None:
        raise SystemExit(f"the tool said no p50 of {file.name}: {done.stderr[-300:]}")
    return float(found.group(1)) * (1 if found.group(2) == "us" else 1e3)


def clocks(models: list[Path], turns: int, seconds: float) -> bool:
    """One line a model; whether every one is within the bar."""
    good = True
    print(f"{'model':20} {'C loop':>9} {'c':>9} {'c / C loop':>11} ", end="")
    print(f"{'compiled':>9} {'interp.':>9} {'tool':>9} {'interp. / tool':>15}")
    with tempfile.TemporaryDirectory() as scratch:
        loop = CLoop(Path(scratch))
        for model in models:
            found = _in_turns(loop, model, turns, seconds)
            ratio = _ratio(found["c"], found[C_LOOP])
            good &= abs(ratio - 1) <= 0.02
            reference, c, compiled, interpreter, tool = (median(each) for each in found.values())
            print(
                f"{model.stem:20} {reference:9.2f} {c:9.2f} {ratio:11.3f} "
                f"{compiled:9.2f} {interpreter:9.2f} {tool:9.1f}",
                end="",
            )
            # The tool rounds to 10 µs: of less than a fifth of a millisecond it says nothing.
            tells = tool >= 200
            beside = _ratio(found["interpreter"], found[TOOL]) if tells else 1.0
            good &= abs(beside - 1) <= 0.02
            print(f" {beside:15.3f}" if tells else f" {'–':>15}")
    return good


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the turns' ratios."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def _in_turns(loop: CLoop, model: Path, turns: int, seconds: float) -> dict[str, list[float]]:
    """p50s in µs by who measured, one a turn; in each turn all of them, in drawn order."""
    rng = random.Random(0)
    found: dict[str, list[float]] = {
        name: [] for name in (C_LOOP, "c", "compiled", "interpreter", TOOL)
    }
    for turn in range(turns):
        for name in rng.sample(list(found), len(found)):
            if name == C_LOOP:
                found[name].append(loop.p50_us(model, seconds, rng))
            elif name == TOOL:
                found[name].append(peer_us(model))
            else:
                found[name].append(_p50(model, name, seconds, seed=turn))
    return found


def _p50(model: Path, api: str, seconds: float, seed: int) -> float:
    found = stats.latency(measure(model, ("a",), api, seconds, launches=1, seed=seed)[0])
    assert found is not None
    return found.p50


def pairs(model: Path, count: int, runs: int) -> bool:
    """The table of judges; whether edgepack's gate keeps its bars."""
    noise = "import random,time\nwhile True:\n t=time.time()+random.expovariate(2)\n"
    noise += " while time.time()<t: pass\n time.sleep(random.expovariate(1))\n"
    neighbour = subprocess.Popen([sys.executable, "-c", noise])
    try:
        real = [measure(model, ("a", "b"), "interpreter", RUN_S)]
        several = len(real[0][0].launches) > 1
        if several:
            real += [measure(model, ("a", "b"), "interpreter", RUN_S) for _ in range(runs // 3)]
        else:
            real = [measure(model, ("a", "b"), "interpreter", 1.5 * RUN_S * runs, runs)]
    finally:
        neighbour.kill()
        neighbour.wait()
    rng = np.random.default_rng(0)
    parts = [part for a, b in real for part in _parts_of(a, b)]
    draw = _of_launches if several else _of_one
    different, found, seconds = Counter[str](), Counter[str](), list[float]()
    for _ in range(count):
        a, b = draw(parts, rng)
        seconds.append(_seconds(a.rounds) + _seconds(b.rounds))
        slower = dataclasses.replace(
            b, rounds=tuple(tuple(int(x * SLOWER) for x in values) for values in b.rounds)
        )
        for name, judge in judges.JUDGES.items():
            different[name] += judge(a, b) is not None
            found[name] += judge(a, slower) == "slower"
    what = "six launches" if several else "one launch"
    print(f"{model.stem}: {count} windows of {what} from {len(parts)} real pairs of processes")
    print(f"a window's inferences take {median(seconds):.1f} s, of a run of {RUN_S:g} s")
    levels = [float(np.log(np.median(_pooled(a)) / np.median(_pooled(b)))) for a, b in parts]
    print(f"the pairs' p50 differ by {np.std(levels):.2%} (standard deviation)")
    print(f"{'judge':24} {'A/A called different':>21} {'5% slower found':>16}")
    for name in judges.JUDGES:
        print(f"{name:24} {different[name] / count:21.1%} {found[name] / count:16.1%}")
    name = "edgepack, gate > 2%"
    return different[name] <= 0.01 * count and found[name] >= 0.95 * count


def _seconds(rounds: Iterable[Iterable[int]]) -> float:
    return sum(map(sum, rounds)) / 1e9


Rounds = list[tuple[int, ...]]


def _parts_of(a: Measurement, b: Measurement) -> list[tuple[Rounds, Rounds]]:
    """Both sides' rounds that count, by launch: the two processes of each lived side by side."""
    skipped = {*a.excluded, *b.excluded}
    bounds = [*a.launches, min(len(a.rounds), len(b.rounds))]
    places = [[at for at in range(*ends) if at not in skipped] for ends in pairwise(bounds)]
    return [([a.rounds[i] for i in own], [b.rounds[i] for i in own]) for own in places if own]


def _pooled(rounds: Rounds) -> np.ndarray:
    return np.concatenate([np.asarray(values) for values in rounds])


def _of_one(
    parts: list[tuple[Rounds, Rounds]], rng: np.random.Generator
) -> tuple[Measurement, Measurement]:
    """Neighbouring rounds of one pair of processes, as many as a run of RUN_S has time for."""
    a, b = parts[rng.integers(len(parts))]
    # A tenth of a turn is not timed.
    ends = np.cumsum([1.1e-9 * (sum(own) + sum(other)) for own, other in zip(a, b, strict=True)])
    first = int(rng.integers(1 + np.searchsorted(ends, max(0.0, ends[-1] - RUN_S))))
    last = int(np.searchsorted(ends, ends[first] + RUN_S))
    return _measured(a[first:last], (0,)), _measured(b[first:last], (0,))


def _of_launches(
    parts: list[tuple[Rounds, Rounds]], rng: np.random.Generator
) -> tuple[Measurement, Measurement]:
    """Six launches, as a user's run has them, of all that were measured."""
    drawn = [parts[i] for i in rng.choice(len(parts), 6, replace=False)]
    starts = tuple(int(at) for at in np.cumsum([0, *(len(a) for a, _ in drawn[:-1])]))
    sides = [[values for part in drawn for values in part[side]] for side in (0, 1)]
    return _measured(sides[0], starts), _measured(sides[1], starts)


def _measured(rounds: Rounds, launches: tuple[int, ...]) -> Measurement:
    return Measurement(
        variant="v",
        device="d",
        profile="p",
        status=Status.OK,
        rounds=tuple(rounds),
        launches=launches,
    )


def on_traces(count: int) -> bool:
    """The three rules on synthetic traces."""
    from edgepack_agent import steady

    right = Counter[str]()
    for trace in traces.traces(count):
        right[trace.kind] += traces.judged_right(steady.steady_from(trace.values), trace)
    share = sum(right.values()) / (count * len(traces.KINDS))
    print(f"steady state right on {share:.1%} of {count * len(traces.KINDS)} traces")
    for kind in traces.KINDS:
        print(f"  {kind:22} {right[kind] / count:.1%}")
    recall, alarms = disturbed.score(count // 2, seed=0)
    whole = sum(recall.values()) / len(recall)
    print(f"disturbances: recall {whole:.1%}, {alarms:.2%} of undisturbed rounds excluded")
    for kind, value in recall.items():
        print(f"  {kind:22} {value:.1%}")
    totals = {p: [loadgen.min_queries(t, p) for t in range(1, 6)] for p in (0.9, 0.99)}
    print(f"LoadGen's totals: {totals}")
    known = {0.9: [64, 81, 97, 113, 127], 0.99: [662, 838, 1001, 1157, 1307]}
    return share >= 0.95 and whole >= 0.95 and alarms <= 0.02 and totals == known


def main() -> int:
    """Run the parts asked for; 1 when one of them is below its bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("clocks", "pairs", "traces"))
    parser.add_argument("--pairs", type=int, default=500, help="windows judged")
    parser.add_argument("--runs", type=int, default=24, help="real pairs of processes, or more")
    parser.add_argument("--turns", type=int, default=25, help="turns of the clocks")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each real run")
    parser.add_argument("--count", type=int, default=60, help="synthetic traces of each kind")
    parser.add_argument("--models", type=Path, nargs="+", help="default: of 3 µs and of 1 ms")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.models is None:
            given.models = [DATA / "classifier_float.tflite", one_millisecond(Path(scratch))]
        return 0 if _parts(given) else 1


def _parts(given: argparse.Namespace) -> bool:
    good = True
    if given.only in (None, "traces"):
        good &= on_traces(given.count)
    if given.only in (None, "clocks"):
        good &= clocks(given.models, given.turns, given.seconds / 12)
    if given.only in (None, "pairs"):
        for model in given.models:
            good &= pairs(model, given.pairs, given.runs)
    return good


if __name__ == "__main__":
    sys.exit(main())
