"""Comparisons in words: short clauses that compare and the reports share."""

from __future__ import annotations

from edgepack.analysis import like, stats
from edgepack.analysis.quality import ERRORS, Change
from edgepack.model import Measurement, Quality

Speedup = tuple[float, tuple[float, float]]


def ratio(value: float) -> str:
    """A speed-up with as many digits as it deserves: "0.41×", "2.7×", "31×"."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}×"


def speed(found: Speedup, base: str) -> str:
    """ "2.71× faster than float (95% CI 2.66–2.76)", slower, or not significantly so."""
    value, (low, high) = found
    if not stats.significant((low, high)):
        return f"not significantly faster or slower than {base}"
    if value < 1:
        value, low, high = 1 / value, 1 / high, 1 / max(low, 1e-9)
        return f"{ratio(value)} slower than {base} (95% CI {low:.2f}–{high:.2f})"
    return f"{ratio(value)} faster than {base} (95% CI {low:.2f}–{high:.2f})"


def size(ratio_of_bytes: float, base: str) -> str:
    """ "27% of float's size"."""
    return f"{100 * ratio_of_bytes:.0f}% of {base}'s size"


def metric(name: str) -> str:
    """A metric's name as people write it."""
    known = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mae": "MAE", "rmse": "RMSE"}
    known |= {"auc": "AUC", "map": "mAP", "miou": "mIoU", "cosine": "cosine similarity"}
    return known.get(name, name)


def value(quality: Quality) -> str:
    """A share in percent, anything else with four significant digits."""
    if quality.metric not in ERRORS and 0 <= quality.value <= 1:
        return f"{100 * quality.value:.2f}%"
    return f"{quality.value:.4g}"


def delta(change: Change) -> str:
    """ "−0.30 points" for a share, a signed number for an error."""
    return signed(change.delta, change.metric)


def signed(difference: float, metric_name: str, unit: str = " points") -> str:
    """A signed difference with a true minus sign, and no minus for zero; shares in points."""
    share = metric_name not in ERRORS
    text = f"{100 * difference:+z.2f}{unit}" if share else f"{difference:+z.4g}"
    return text.replace("-", "−")


def quality(change: Change, base: str) -> str:
    """ "top-1 accuracy −0.30 points against float (not significant)"."""
    doubt = {True: "significant", False: "not significant", None: "not tested"}
    said = f"{metric(change.metric)} {delta(change)} against {base}"
    return f"{said} ({doubt[change.significant]})"


def beside(base: Measurement, other: Measurement) -> str:
    """What two variants that are compared do not share (threads, accelerator); else ""."""
    found = like.differences(base, other)
    return f"not like for like with {base.variant}: {like.said(found)}" if found else ""


def slow_because(measured: Measurement) -> str:
    """Where its time goes, if it was profiled; else the ops that the accelerating delegate did
    not take, a frequent cause of slow int8, and how to know."""
    if measured.ops:
        largest = max(measured.ops, key=lambda op: op.share)
        outside = sum(op.share for op in measured.ops if op.partition is None)
        if largest.share > outside:
            return f": {largest.name} alone takes {largest.share:.0%} of its time"
    accelerator = measured.accelerator
    total, taken = accelerator.ops_total, accelerator.ops_delegated
    if not accelerator.xnnpack or total is None or taken is None or taken >= total:
        return ""
    names = f" ({', '.join(accelerator.ops_left[:3])})" if accelerator.ops_left else ""
    left = f"{total - taken} of {total} ops fell back to the runtime's own kernels{names}"
    return f"; {left}; --profile-ops says where its time goes"
