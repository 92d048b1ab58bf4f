"""The mean intersection over union of a segmentation (Everingham et al. 2010, PASCAL VOC).

One output: scores [n, h, w, classes], or classes [n, h, w]. Labels: classes [n, h, w]; 255 and
negative ones are not judged. A class that neither the labels nor the model has does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgepack.quality.base import Array, PerSample, labels_of, misfit

UNJUDGED = 255


def confusions(outputs: Mapping[str, Array], labels: Array | None) -> list[Array]:
    """For each sample the pixels by label and decision [classes, classes]. EP303."""
    truth = labels_of(labels, "miou")
    if len(outputs) != 1:
        raise misfit("miou", f"one output is wanted, and there are {len(outputs)}")
    (output,) = outputs.values()
    truth = truth.reshape(truth.shape[:3])
    if output.ndim == 4 and output.shape[3] > 1:
        decided, classes = output.argmax(axis=3), output.shape[3]
    else:
        decided = np.rint(output.reshape(output.shape[:3])).astype(int)
        classes = 1 + int(max(decided.max(), truth[truth != UNJUDGED].max(initial=0)))
    if decided.shape != truth.shape:
        raise misfit(
            "miou", f"the model gives {list(decided.shape)} and the labels are {list(truth.shape)}"
        )
    return [_counted(one, other, classes) for one, other in zip(truth, decided, strict=True)]


def _counted(truth: Array, decided: Array, classes: int) -> Array:
    judged = (truth >= 0) & (truth < classes) & (truth != UNJUDGED)
    place = truth[judged].astype(int) * classes + decided[judged]
    return np.bincount(place, minlength=classes * classes).reshape(classes, classes)


def mean_iou(parts: Sequence[Array]) -> dict[str, float]:
    """mIoU, and the share of pixels that are right; NaN without a judged pixel."""
    total = np.sum(parts, axis=0)
    hits = np.diag(total)
    union = total.sum(axis=0) + total.sum(axis=1) - hits
    present = union > 0
    if not present.any():
        return {"miou": float("nan"), "pixel_accuracy": float("nan")}
    return {
        "miou": float((hits[present] / union[present]).mean()),
        "pixel_accuracy": float(hits.sum() / total.sum()),
    }


mean_intersection_over_union = PerSample(parts=confusions, total=mean_iou)
