"""How good a model's outputs are on the evaluation data: one metric a task."""

import math
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from edgepack_agent.errors import AgentError

MOST_CLASSES = 200  # of a confusion matrix that is told
RESAMPLES = 500
SEED = 0


def bootstrap(n: int, statistic: Callable[[np.ndarray], Optional[float]]) -> Optional[List[float]]:
    """95% percentile interval of a statistic of `n` samples, each resample drawn with a fixed
    seed (Efron & Tibshirani 1993, 13.3). None where resamples give no value."""
    rng = np.random.default_rng(SEED)
    drawn = [statistic(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    values = [value for value in drawn if value is not None]
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def auc(scores: np.ndarray, positive: np.ndarray) -> Optional[float]:
    """The area under the ROC curve: how often a positive sample scores above a negative one,
    equal scores counted half (Mann & Whitney 1947). None without samples of both kinds."""
    _, place = np.unique(scores, return_inverse=True)
    ours = np.bincount(place, weights=positive)
    theirs = np.bincount(place, weights=~positive)
    pairs = ours.sum() * theirs.sum()
    below = np.cumsum(theirs) - theirs
    return float((ours * (below + theirs / 2)).sum() / pairs) if pairs else None


class TopK:
    """Top-1 accuracy, with top-5 where there are more than five classes, and the AUC for two.

    An output with a single element is a probability of class 1, cut at one half. An output
    that is not a number is wrong.
    """

    def __init__(self) -> None:
        self._correct: List[bool] = []
        self._in_top5: List[bool] = []
        self._classes = 0
        self._cells: Dict[Any, int] = {}
        self._scores: List[float] = []  # of class 1, where there are two
        self._positive: List[bool] = []

    def add(self, output: np.ndarray, label: np.ndarray) -> None:
        """`output`: scores of one sample; `label`: its class, or a one-hot row."""
        scores = output.reshape(-1)
        label = label.reshape(-1)
        wanted = int(label[0]) if label.size == 1 else int(np.argmax(label))
        self._classes = max(2, scores.size)
        if not np.all(np.isfinite(scores)):
            self._correct.append(False)
            self._in_top5.append(False)
            return
        best = int(scores[0] >= 0.5) if scores.size == 1 else int(np.argmax(scores))
        self._correct.append(best == wanted)
        # Stable, so that among equal scores (int8 has many) the first class wins, as in argmax.
        self._in_top5.append(wanted in np.argsort(-scores, kind="stable")[:5])
        if 0 <= wanted < self._classes <= MOST_CLASSES:
            self._cells[wanted, best] = self._cells.get((wanted, best), 0) + 1
        if self._classes == 2 and wanted in (0, 1):
            self._scores.append(float(scores[-1] - (scores[0] if scores.size == 2 else 0.0)))
            self._positive.append(wanted == 1)

    def result(self) -> Dict[str, Any]:
        """The `quality` field: one bit a sample, the first in the highest bit of the hex.

        The host makes the intervals of shares, which need no more than the shares.
        """
        n = len(self._correct)
        extra = {"top5": sum(self._in_top5) / n} if self._classes > 5 else {}
        found = {
            "metric": "top1",
            "value": sum(self._correct) / n,
            "n": n,
            "ci95": None,
            "extra": extra,
            "extra_ci95": {},
            "correct": np.packbits(np.array(self._correct)).tobytes().hex(),
            "confusion": self._confusion(),
        }
        self._add_auc(found)
        return found

    def _confusion(self) -> Optional[Dict[str, Any]]:
        if self._classes > MOST_CLASSES:
            return None
        cells = [[wanted, best, n] for (wanted, best), n in sorted(self._cells.items())]
        return {"classes": self._classes, "cells": cells}

    def _add_auc(self, found: Dict[str, Any]) -> None:
        scores, positive = np.array(self._scores), np.array(self._positive, bool)
        area = auc(scores, positive) if len(scores) else None
        if area is None:
            return
        found["extra"]["auc"] = area
        interval = bootstrap(len(scores), lambda chosen: auc(scores[chosen], positive[chosen]))
        if interval is not None:
            found["extra_ci95"]["auc"] = interval


class Deviation:
    """Mean absolute error, with the root mean square error beside it, over all elements."""

    def __init__(self) -> None:
        self._absolute: List[float] = []  # means of one sample
        self._squared: List[float] = []

    def add(self, output: np.ndarray, label: np.ndarray) -> None:
        """`output` and `label`: the same number of elements. AgentError EP303 otherwise."""
        if output.size != label.size:
            raise AgentError(
                "EP303",
                "the model gives %d values a sample and the data hold %d"
                % (output.size, label.size),
                "Make targets of the shape of the model's first output.",
            )
        error = output.reshape(-1) - label.reshape(-1).astype(np.float64)
        self._absolute.append(float(np.abs(error).mean()))
        self._squared.append(float((error * error).mean()))

    def result(self) -> Optional[Dict[str, Any]]:
        """The `quality` field; None when an output was not a number.

        The intervals resample the samples, not their elements, whose errors go together.
        """
        absolute, squared = np.array(self._absolute), np.array(self._squared)
        n = len(squared)
        if not math.isfinite(squared.sum()):
            return None
        return {
            "metric": "mae",
            "value": float(absolute.mean()),
            "n": n,
            "ci95": bootstrap(n, lambda chosen: absolute[chosen].mean()),
            "extra": {"rmse": math.sqrt(squared.mean())},
            "extra_ci95": {"rmse": bootstrap(n, lambda at: math.sqrt(squared[at].mean()))},
            "correct": None,
            "confusion": None,
        }


def metric(task: str) -> Any:
    """An empty metric for the task: "classification" or "regression"."""
    return {"classification": TopK, "regression": Deviation}[task]()
