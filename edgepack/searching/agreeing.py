"""Without labels the finalists' quality is agreement with the source: on how many samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from edgepack.analysis.quality import AGREEMENT
from edgepack.fleet.report import OUTPUT_BYTES
from edgepack.model import Package, Run
from edgepack.searching.values import Tried

# One point of loss shows in a thousand samples. What a device may take for all finalists.
_MOST, _MOST_S = 1000, 60.0


def agreeing(package: Package, group: Sequence[Tried]) -> int:
    """Samples whose outputs the host asks back; 0 where labels judge, or one event must do.

    That is as many as there are, up to `_MOST`, as the devices' time and the bytes that the host
    takes allow.
    """
    data = package.data
    if data is None or data.task != "none":
        return 0
    shapes = [spec.shape[1:] for spec in package.variants[0].signature.outputs]
    if any(size is None for shape in shapes for size in shape):
        return 0  # nobody knows how much that would be
    bytes_each = 4 * sum(math.prod(size or 1 for size in shape) for shape in shapes)
    held = OUTPUT_BYTES // 4 // (bytes_each * len(package.variants))
    devices = {name for one in group for name in one.latency_us}
    us_each = max((_us(group, name) for name in devices), default=1.0)
    return int(min(_MOST, data.samples, held, 1e6 * _MOST_S / us_each))


def doubt(runs: Iterable[Run]) -> Iterator[str]:
    """How sure agreement is, where it is what quality means."""
    judged = [one.quality for run in runs for one in run.measurements if one.quality]
    fewest = min((one.n for one in judged if one.metric == AGREEMENT), default=0)
    if fewest:
        yield (
            f"without labels quality is agreement with the source, on {fewest:,} samples: "
            f"one of them is {100 / fewest:.2g} points"
        )


def _us(group: Sequence[Tried], device: str) -> float:
    """What one sample takes on a device by all of them, the source included."""
    own = [one for one in group if device in one.latency_us]
    source = max(one.latency_us[device] * one.speedup.get(device, 1.0) for one in own)
    return source + sum(one.latency_us[device] for one in own)
