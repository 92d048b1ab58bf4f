"""COCO's mean average precision of detections, over IoU thresholds 0.50 to 0.95.

Outputs: boxes [n, k, 4], scores [n, k] and classes [n, k], found by these words in their names or
as the four outputs of TFLite's detection post-processing; where there is a count [n], only so
many detections of a sample are looked at. Labels: [n, m, 5], each row a box and its class, rows
of class -1 are padding. Boxes are two opposite corners, in the labels as in the outputs.

As in COCO's own evaluation: at most 100 detections an image and class, in order of falling
score each takes the box of its class that it overlaps most and that no other has taken; the
precision at 101 recalls is the highest at that recall or beyond; classes without a box in the
labels do not count. There are no crowds or size ranges. (Lin et al. 2014, "Microsoft COCO".)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgepack.quality.base import Array, PerSample, labels_of, misfit

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100
_POSTPROCESS = ("boxes", "classes", "scores", "count")
_WORDS = {
    "boxes": ("box", "location"),
    "classes": ("class", "label", "categor"),
    "scores": ("score", "confidence"),
    "count": ("count", "num"),
}


@dataclass(frozen=True)
class Matches:
    """Detections of one class in one image: scores [d], whether they are right at each
    threshold [10, d], and how many boxes of the class the labels have."""

    scores: Array
    right: Array
    wanted: int


def matches(outputs: Mapping[str, Array], labels: Array | None) -> list[dict[int, Matches]]:
    """For each image the matches of every class in it. EP303 for what are no detections."""
    truth = labels_of(labels, "map")
    if truth.ndim != 3 or truth.shape[2] != 5:
        raise misfit("map", f"labels are [samples, boxes, 5], not {list(truth.shape)}")
    found = detections(outputs)
    boxes, scores, classes = found["boxes"], found["scores"], found["classes"]
    samples = len(boxes)
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not scores.shape == classes.shape:
        raise misfit("map", "boxes are [samples, k, 4], scores and classes [samples, k]")
    most = np.full(samples, boxes.shape[1])
    counts = found["count"].reshape(samples, -1)[:, 0] if "count" in found else most
    images = []
    for at in range(samples):
        k = int(np.clip(counts[at], 0, boxes.shape[1]))
        real = truth[at][truth[at][:, 4] >= 0]
        images.append(_image(boxes[at][:k], scores[at][:k], classes[at][:k], real))
    return images


def detections(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Boxes, scores, classes and count among the outputs. EP303 where they cannot be told."""
    named = {
        part: [name for name in outputs if any(word in name.lower() for word in words)]
        for part, words in _WORDS.items()
    }
    post = sorted(name for name in outputs if "PostProcess" in name)
    if len(post) == len(_POSTPROCESS):
        return {part: outputs[name] for part, name in zip(_POSTPROCESS, post, strict=True)}
    if any(len(named[part]) != 1 for part in ("boxes", "classes", "scores")):
        raise misfit(
            "map", f"no boxes, scores and classes among the outputs {', '.join(sorted(outputs))}"
        )
    return {part: outputs[names[0]] for part, names in named.items() if len(names) == 1}


def _image(boxes: Array, scores: Array, classes: Array, real: Array) -> dict[int, Matches]:
    whole = np.rint(classes).astype(int)
    made = {}
    for each in {*whole.tolist(), *real[:, 4].astype(int).tolist()}:
        mine = np.flatnonzero(whole == each)
        mine = mine[np.argsort(-scores[mine], kind="stable")][:MOST_DETECTIONS]
        wanted = real[real[:, 4] == each][:, :4]
        right = _match(overlaps(boxes[mine], wanted))
        made[each] = Matches(scores=scores[mine], right=right, wanted=len(wanted))
    return made


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of each box of `first` [a, 4] with each of `second` [b, 4]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - both
    shared: Array = np.where(union > 0, both / np.where(union > 0, union, 1), 0.0)
    return shared


def _match(shared: Array) -> Array:
    """Which detections, in order of falling score, take a box, at each threshold [10, d]."""
    count, wanted = shared.shape
    right = np.zeros((len(THRESHOLDS), count), bool)
    if not wanted:
        return right
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(wanted, bool)
        for at in range(count):
            left = np.where(free, shared[at], -1.0)
            best = int(left.argmax())
            if left[best] >= threshold - 1e-10:
                right[row, at] = True
                free[best] = False
    return right


def average_precision(images: Sequence[Mapping[int, Matches]]) -> dict[str, float]:
    """mAP over all thresholds, and at 0.50 and 0.75; NaN without a box in the labels."""
    by_class: dict[int, list[Matches]] = {}
    for image in images:
        for each, found in image.items():
            by_class.setdefault(each, []).append(found)
    rows = [
        _class_precision(found) for found in by_class.values() if sum(each.wanted for each in found)
    ]
    mean = np.mean(rows, axis=0) if rows else np.full(len(THRESHOLDS), np.nan)
    return {"map": float(mean.mean()), "map50": float(mean[0]), "map75": float(mean[5])}


def _class_precision(found: Sequence[Matches]) -> Array:
    """The average precision of one class at each threshold [10]."""
    scores = np.concatenate([each.scores for each in found])
    right = np.concatenate([each.right for each in found], axis=1)
    right = right[:, np.argsort(-scores, kind="stable")]
    wanted = sum(each.wanted for each in found)
    hits = np.cumsum(right, axis=1)
    precision = hits / np.arange(1, right.shape[1] + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    averages = np.zeros(len(THRESHOLDS))
    for row in range(len(THRESHOLDS)):
        at = np.searchsorted(hits[row] / wanted, RECALLS, side="left")
        reached = at < right.shape[1]
        averages[row] = best[row][at[reached]].sum() / len(RECALLS)
    return averages


mean_average_precision = PerSample(parts=matches, total=average_precision)
