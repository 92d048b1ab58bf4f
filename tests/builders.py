"""Realistic values of the model for tests: packages, measurements and whole runs, seeded.

The defaults are shaped like a small image classifier: four variants with the sizes, speeds
and accuracies that such recipes give, on devices whose rounds drift together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from edgepack.analysis import stats
from edgepack.model import (
    Agreement,
    EvalData,
    Failure,
    Measurement,
    Package,
    PassSpec,
    Quality,
    Recipe,
    Run,
    RuntimeSpec,
    Signature,
    Status,
    TensorSpec,
    Transfer,
    Variant,
)

SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", shape=(None, 28, 28, 1), dtype="float32"),),
    outputs=(TensorSpec(name="class", shape=(None, 10), dtype="float32"),),
)
# name: passes, bytes, µs on a desktop core, accuracy
SHAPES: Mapping[str, tuple[tuple[str, ...], int, float, float]] = {
    "float": ((), 381_204, 168.0, 0.913),
    "dynamic": (("quantize.dynamic",), 102_816, 131.0, 0.9125),
    "int8": (("quantize.int8",), 104_352, 61.0, 0.911),
    "prune50-int8": (("prune.magnitude", "quantize.int8"), 104_360, 61.2, 0.898),
}
SLOWNESS = {"local": 1.0, "pi4": 14.0, "pi-zero": 60.0}


def digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def variant(name: str, size: int | None = None, passes: Sequence[str] | None = None) -> Variant:
    """A variant; names in SHAPES get their usual size and passes."""
    usual = SHAPES.get(name, ((name,), 100_000, 0.0, 0.0))
    count = usual[1] if size is None else size
    steps = usual[0] if passes is None else passes
    return Variant(
        name=name,
        recipe=Recipe(name=name, passes=tuple(PassSpec(name=step) for step in steps)),
        sha256=digest(name),
        bytes=count,
        gzip_bytes=count * 4 // 5,
        signature=SIGNATURE,
        params=93_322,
        macs=3_211_264,
        sparsity=0.5 if name.startswith("prune") else 0.0,
    )


def package(variants: Sequence[Variant]) -> Package:
    return Package(
        digest=digest(f"package of {', '.join(each.name for each in variants)}"),
        source_name="fashion.keras",
        source_sha256=digest("source"),
        variants=tuple(variants),
        data=EvalData(sha256=digest("data"), bytes=1_600_000, samples=2000, task="classification"),
        tools={"tensorflow": "2.21.0", "keras": "3.15.0"},
    )


def rounds(
    p50_us: float, *, count: int = 20, batch: int = 30, seed: int = 0, drift: Sequence[float] = ()
) -> tuple[tuple[int, ...], ...]:
    """Latencies in ns with a heavy right tail and an effect of each round on all its samples.

    `batch` samples, again and again until they fill a round of 45 ms: a stretch of its own.
    drift: a factor a round that the caller shares between variants, as a board does.
    """
    again = math.ceil(45_000 / (p50_us * batch))
    rng = random.Random(seed)
    made = []
    for number in range(count):
        shared = drift[number] if number < len(drift) else 1.0
        here = p50_us * 1e3 * shared * rng.gauss(1.0, 0.004)
        own = tuple(int(here * (0.98 + rng.expovariate(1 / 0.03))) for _ in range(batch))
        made.append(own * again)
    return tuple(made)


def drifts(count: int = 20, seed: int = 0) -> list[float]:
    """A slow wander of a board's speed, up to a few percent."""
    rng = random.Random(seed)
    level, made = 1.0, []
    for _ in range(count):
        level += rng.gauss(0, 0.006)
        made.append(level)
    return made


def bits(accuracy: float, n: int = 2000, seed: int = 0) -> str:
    """Correctness bits of which about `accuracy` are set; the same seed gives paired ones."""
    rng = random.Random(seed)
    hits = "".join("1" if rng.random() < accuracy else "0" for _ in range(n))
    return f"{int(hits, 2):0{(n + 3) // 4}x}" if n % 4 == 0 else _ragged(hits)


def _ragged(hits: str) -> str:
    padded = hits + "0" * (-len(hits) % 4)
    return f"{int(padded, 2):0{len(padded) // 4}x}"


def top1(accuracy: float, n: int = 2000, seed: int = 0) -> Quality:
    correct = bits(accuracy, n, seed)
    value = int(correct, 16).bit_count() / n
    return Quality(
        metric="top1",
        value=value,
        n=n,
        ci95=stats.wilson(value * n, n),
        extra={"top5": 0.99},
        correct=correct,
    )


def measurement(
    name: str, device: str = "local", p50_us: float = 100.0, **fields: Any
) -> Measurement:
    """A measurement that went well; `fields` replaces any field."""
    made: dict[str, Any] = {
        "variant": name,
        "device": device,
        "profile": "desktop" if device == "local" else "raspberry-pi-4",
        "status": Status.OK,
        "runtime": RuntimeSpec(name="ai-edge-litert", version="2.3.0"),
        "rounds": rounds(p50_us, seed=len(name)),
        "load_ns": 2_100_000,
        "first_ns": int(p50_us * 4000),
        "peak_rss_bytes": 48_000_000,
        "quality": top1(0.91),
        "parity": Agreement(samples=64, top1_agreement=0.98, max_abs_diff=0.021, snr_db=31.0),
        "environment": {
            "cpu": {"model": "Cortex-A72", "cores": 4},
            "governor": "performance",
            "temperature_c": 47.2,
            "kernel": "6.12.0",
            "python": "3.11.2",
        },
        "inputs_sha256": digest("inputs"),
    }
    return Measurement(**made | fields)


def failed(
    name: str,
    device: str = "pi4",
    status: Status = Status.UNREACHABLE,
    what: str = "no route to host",
) -> Measurement:
    return Measurement(
        variant=name,
        device=device,
        profile="raspberry-pi-4",
        status=status,
        failure=Failure(
            code="EP401", what=what, hint=f"Look with: edgepack device doctor {device}"
        ),
    )


def run(
    variants: Sequence[str] = tuple(SHAPES),
    devices: Sequence[str] = ("local", "pi4"),
    *,
    replace: Mapping[tuple[str, str], Measurement] | None = None,
    **fields: Any,
) -> Run:
    """A run of `variants` on `devices`; `replace` swaps single measurements in."""
    made = []
    for device in devices:
        wander = drifts(seed=len(device))
        for name in variants:
            _, _, us, accuracy = SHAPES[name]
            timed = measurement(
                name,
                device,
                rounds=rounds(
                    us * SLOWNESS.get(device, 5.0), seed=hash_of(device, name), drift=wander
                ),
                quality=top1(accuracy),
            )
            made.append((replace or {}).get((device, name), timed))
    values: dict[str, Any] = {
        "run_id": "20261122T150405-ab12cd",
        "started_at": "2026-11-22T15:04:05+00:00",
        "package": package([variant(name) for name in variants]),
        "package_path": "fashion.pack",
        "measurements": tuple(made),
        "transfers": tuple(
            Transfer(
                device=device,
                connections=1,
                execs=1,
                sent_bytes=1_912_000,
                received_bytes=241_000,
                blob_bytes=1_730_000,
                agent_bytes=61_000,
                seconds=21.4,
            )
            for device in devices
        ),
    }
    return Run(**values | fields)


def numbered(second: int, **fields: Any) -> Run:
    """The run of that second, 0 to 59: ids in the order of the seconds."""
    run_id = f"20261122T1504{second:02d}-ab12c{second % 10}"
    return run(["float", "int8"], ["local"], run_id=run_id, **fields)


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def hash_of(*parts: str) -> int:
    return int(digest("/".join(parts))[:8], 16)


def timeline(seconds: int = 30, **fields: Any) -> dict[str, Any]:
    """A board's time line as the agent tells it: warming up, throttled once."""
    rows = [
        [t, 1500.0 if 12 <= t < 16 else 1800.0, 46.0 + min(t, 20) * 0.9, 3.1 + (t % 3) * 0.1, 0.05]
        for t in range(seconds)
    ]
    return {
        "start_ns": 0,
        "period_s": 1.0,
        "cost": 0.001,
        "columns": ["t_s", "frequency_mhz", "temperature_c", "power_w", "others"],
        "rows": rows,
        "disturbances": [{"kind": "throttled", "from_s": 12.0, "to_s": 16.0, "rounds": [7, 8]}],
    } | fields
