"""Quality of one measurement and of two: values, intervals and paired tests.

A share (accuracy, agreement) is better when larger, an error (MAE, RMSE) when smaller. Where
no labels exist, the share of equal decisions with the source model stands in for quality.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from edgepack.analysis import stats
from edgepack.model import Measurement, Quality

ERRORS = frozenset({"mae", "mse", "rmse"})
AGREEMENT = "agreement"
#: Metrics that count samples: Wilson's interval is theirs.
COUNTED = frozenset({"top1", "top5", AGREEMENT})
#: A loss below one point (1% of an error's value) is not held against a variant.
MARGIN = 0.01
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Change:
    """Quality of one variant against another on the same samples.

    delta: this - base, in the metric's unit; loss: how much worse, as a share (points / 100,
    or relative to the base's error), negative where better; p: of the paired test, None where
    only intervals could be held against each other; significant: None where it can't be said.
    """

    metric: str
    delta: float
    loss: float
    significant: bool | None
    p: float | None = None

    @property
    def harmful(self) -> bool:
        """Whether the loss is above one point and not known to be chance.

        A loss that could not be tested counts: shipping it would take luck for evidence.
        """
        return self.significant is not False and self.loss > MARGIN


#: Flags of a quality that was asked for and could not be had: nothing else stands in for it.
FAILED = frozenset({"quality-failed", "non-finite-outputs"})


def measured(measurement: Measurement) -> Quality | None:
    """The quality with its interval, or the agreement with the source model where no other was
    asked for; else None."""
    quality = measurement.quality
    if quality is None:
        if FAILED.intersection(measurement.flags):
            return None
        parity = measurement.parity
        if parity is None or parity.top1_agreement is None:
            return None
        quality = Quality(metric=AGREEMENT, value=parity.top1_agreement, n=parity.samples)
    if not math.isfinite(quality.value):
        return None
    counted = {
        name: stats.wilson(value * quality.n, quality.n)
        for name, value in quality.extra.items()
        if name in COUNTED and 0.0 <= value <= 1.0
    }
    return dataclasses.replace(
        quality,
        ci95=quality.ci95 or _interval(quality),
        extra_ci95={**counted, **quality.extra_ci95},
    )


def is_share(quality: Quality) -> bool:
    """Whether the value lies between 0 and 1 and larger is better: shown in percent."""
    return quality.metric not in ERRORS and 0.0 <= quality.value <= 1.0


def better_is_lower(metric: str) -> bool:
    """Whether the metric is an error."""
    return metric in ERRORS


def change(base: Measurement, other: Measurement) -> Change | None:
    """How `other`'s quality differs from `base`'s; None when they cannot be compared.

    Samples that both judged are paired with McNemar's exact test. Without such bits the
    difference counts as significant only when the two 95% intervals do not meet, which is
    stricter than 5%.
    """
    first, second = measured(base), measured(other)
    if first is None or second is None or first.metric != second.metric:
        return None
    delta = second.value - first.value
    loss = -delta
    if better_is_lower(first.metric):
        loss = delta / first.value if first.value else math.copysign(math.inf, delta)
        loss = loss if delta else 0.0
    p = _paired(base, other, first, second)
    if p is not None:
        return Change(metric=first.metric, delta=delta, loss=loss, significant=p < ALPHA, p=p)
    return Change(metric=first.metric, delta=delta, loss=loss, significant=_apart(first, second))


def _paired(base: Measurement, other: Measurement, a: Quality, b: Quality) -> float | None:
    same_inputs = base.inputs_sha256 == other.inputs_sha256
    if not (a.correct and b.correct and a.n == b.n and same_inputs):
        return None
    try:
        return stats.mcnemar(a.correct, b.correct)
    except ValueError:
        return None  # bits that a device garbled say nothing; the intervals still do


def _apart(a: Quality, b: Quality) -> bool | None:
    if a.ci95 is None or b.ci95 is None:
        return None
    return a.ci95[1] < b.ci95[0] or b.ci95[1] < a.ci95[0]


def _interval(quality: Quality) -> tuple[float, float] | None:
    """Wilson's for a share; for a mean absolute error the normal one, from its RMSE.

    The agent brings the bootstrap's for an error; this is for what older ones measured.

    The absolute errors have the variance rmse² - mae². The samples are counted, not their
    elements, because the errors within one sample go together.
    """
    if quality.n <= 0:
        return None
    if quality.metric in COUNTED and is_share(quality):
        return stats.wilson(quality.value * quality.n, quality.n)
    rmse = quality.extra.get("rmse")
    if quality.metric != "mae" or rmse is None or not rmse >= quality.value:
        return None
    half = stats.Z * math.sqrt((rmse**2 - quality.value**2) / quality.n)
    return max(quality.value - half, 0.0), quality.value + half
