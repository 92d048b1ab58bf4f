"""Metrics of a device's outputs, computed on the host: `--quality NAME` or `module:function`.

A metric is a function `metric(outputs, labels, dataset)`. outputs: the model's outputs by name,
dequantized, first axis samples; labels: the `y` of the evaluation data for the same samples, or
None; dataset: an `EvaluationSet` of these samples. It returns a number, or a mapping of names to
numbers whose first entry is the metric and whose others stand beside it. Larger is better,
unless the name is that of an error ("mae", "mse", "rmse").

The interval is the bootstrap's over samples: the function is called for each of 100 resamples,
unless it has an attribute `bootstrap` that is false. A metric whose work is done a sample at a
time is better a `PerSample`, which is asked for its parts once.

Names are entry points of the group `edgepack.quality`; `map` and `miou` are edgepack's own.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepack import plugins
from edgepack.analysis import resampling
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Quality
from edgepack.quality.base import Array, EvaluationSet, Metric, PerSample, misfit

__all__ = ["EvaluationSet", "Metric", "PerSample", "Quality", "judge", "load", "misfit"]

GROUP = "edgepack.quality"
CALLS = 100


def load(spec: str) -> Metric:
    """The metric of an entry point's name, or of "module:function".

    EP105 for an unknown name, EP109 for one that cannot be imported or is no function.
    """
    module, colon, name = spec.partition(":")
    if not colon:
        known = plugins.found(GROUP)
        if spec not in known:
            raise EdgepackError(
                "EP105",
                f"There is no metric '{spec}'",
                where="--quality",
                hint=did_you_mean(spec, list(known)) + " Or name one as module:function.",
            )
        return _function(plugins.load(known[spec]), spec)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as with --data module:function
    try:
        return _function(getattr(importlib.import_module(module), name), spec)
    except (Exception, SystemExit) as error:  # what is imported may do anything
        if isinstance(error, EdgepackError):
            raise
        raise _unusable(spec, f"{type(error).__name__}: {error}") from error


def _function(found: Any, spec: str) -> Metric:
    metric: Metric = found
    if not callable(found):
        raise _unusable(spec, "it is not a function")
    return metric


def _unusable(spec: str, why: str) -> EdgepackError:
    return EdgepackError(
        "EP109",
        f"The metric '{spec}' cannot be used: {why}",
        where="--quality",
        hint="Name it as module:function, importable from the current folder.",
    )


def judge(specs: tuple[str, ...], outputs: Mapping[str, Array], dataset: EvaluationSet) -> Quality:
    """The quality by these metrics: the first one's value, the others' as `extra`.

    Raises:
        EdgepackError: EP303 the outputs or labels do not fit a metric; EP109 a metric failed,
            or gave something else than finite numbers.
    """
    values: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for spec in specs:
        name = spec.rpartition(":")[2]
        found, around = _judged(load(spec), spec, name, outputs, dataset)
        values |= found
        intervals |= around
    metric, value = next(iter(values.items()))
    return Quality(
        metric=metric,
        value=value,
        n=dataset.samples,
        ci95=intervals.pop(metric, None),
        extra={name: each for name, each in values.items() if name != metric},
        extra_ci95=intervals,
    )


def _judged(
    metric: Metric, spec: str, name: str, outputs: Mapping[str, Array], dataset: EvaluationSet
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Values and intervals of one metric."""
    try:
        if isinstance(metric, PerSample):
            parts = metric.parts(outputs, dataset.labels)
            values = _named(metric.total(parts), name)

            def again(chosen: Any) -> dict[str, float]:
                return _named(metric.total([parts[at] for at in chosen]), name)

        else:
            values = _named(metric(outputs, dataset.labels, dataset), name)

            def again(chosen: Any) -> dict[str, float]:
                some = {key: array[chosen] for key, array in outputs.items()}
                part = dataset.take(chosen)
                return _named(metric(some, part.labels, part), name)

        if not all(map(math.isfinite, values.values())):
            raise ValueError(f"it gave {values}")
        if not getattr(metric, "bootstrap", True):
            return values, {}
        return values, resampling.intervals(dataset.samples, again, CALLS)
    except EdgepackError:
        raise
    except Exception as error:  # a plug-in may raise anything
        raise _unusable(spec, f"{type(error).__name__}: {error}") from error


def _named(result: Any, name: str) -> dict[str, float]:
    """What a metric returned as numbers by name; ValueError for an empty mapping."""
    values = result if isinstance(result, Mapping) else {name: result}
    if not values:
        raise ValueError("it gave no number")
    return {str(key): float(value) for key, value in values.items()}
