"""mAP and mIoU against values worked out by hand, and metrics of a user's own."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack import quality
from edgepack.errors import EdgepackError
from edgepack.quality import EvaluationSet
from edgepack.quality.detection import mean_average_precision, overlaps
from edgepack.quality.segmentation import mean_intersection_over_union


def dataset(labels: np.ndarray | None, samples: int) -> EvaluationSet:
    return EvaluationSet(inputs={"x": np.zeros((samples, 1))}, labels=labels, task="regression")


def detected(boxes, scores, classes) -> dict[str, np.ndarray]:
    return {"boxes": np.array(boxes), "scores": np.array(scores), "classes": np.array(classes)}


def map_of(outputs, labels) -> dict[str, float]:
    truth = np.array(labels, float)
    return mean_average_precision(outputs, truth, dataset(truth, len(truth)))


UNIT = [0.0, 0.0, 10.0, 10.0]


def test_overlaps_by_hand() -> None:
    boxes = np.array([UNIT, [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 20.0, 20.0]])
    assert overlaps(boxes[:1], boxes) == pytest.approx(np.array([[1.0, 50 / 150, 0.0]]))


def test_a_box_with_iou_of_eight_tenths_counts_at_seven_thresholds() -> None:
    # 8 x 10 of 10 x 10: 0.5, 0.55, ... 0.8 are met, 0.85 to 0.95 are not.
    found = map_of(detected([[[0, 0, 8, 10]]], [[0.9]], [[1]]), [[[*UNIT, 1]]])
    assert found == pytest.approx({"map": 0.7, "map50": 1.0, "map75": 1.0})


def test_the_precision_is_taken_at_101_recalls() -> None:
    # By score: right, wrong, right, of two boxes. Up to recall 0.5 the precision is 1 (51
    # recalls), beyond it 2/3 (50 recalls).
    boxes = [[UNIT, [50, 50, 60, 60], [20, 20, 30, 30]]]
    found = map_of(detected(boxes, [[0.9, 0.8, 0.7]], [[0, 0, 0]]),
                   [[[*UNIT, 0], [20, 20, 30, 30, 0]]])  # fmt: skip
    assert found["map"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_second_detection_of_the_same_box_is_wrong() -> None:
    boxes = [[UNIT, UNIT]]
    once = map_of(detected(boxes, [[0.9, 0.95]], [[0, 0]]), [[[*UNIT, 0], [30, 30, 40, 40, 0]]])
    assert once["map"] == pytest.approx(51 / 101), "half of the boxes found, at precision 1"


def test_scores_rank_over_all_images_and_classes_are_averaged() -> None:
    # Class 0: image 0 has a false one of 0.9, image 1 a right one of 0.8: precision 1/2 at all
    # recalls. Class 1: never detected. Class 2 is detected and not in the labels: left out.
    boxes = [[[50, 50, 60, 60], UNIT], [UNIT, UNIT]]
    outputs = detected(boxes, [[0.9, 0.3], [0.8, 0.1]], [[0, 2], [0, 2]])
    padding = [0, 0, 0, 0, -1]
    found = map_of(outputs, [[padding, padding], [[*UNIT, 0], [*UNIT, 1]]])
    assert found["map"] == pytest.approx((0.5 + 0.0) / 2)


def test_the_count_and_tflites_own_names() -> None:
    names = ["", ":1", ":2", ":3"]
    arrays = ([[[50, 50, 60, 60], UNIT]], [[0, 0]], [[0.5, 0.9]], [1])
    outputs = {f"TFLite_Detection_PostProcess{n}": np.array(a) for n, a in zip(names, arrays)}  # noqa: B905
    assert map_of(outputs, [[[*UNIT, 0]]])["map"] == 0.0, "the right one is beyond the count"
    outputs["TFLite_Detection_PostProcess:3"] = np.array([2])
    assert map_of(outputs, [[[*UNIT, 0]]])["map"] == 1.0


def test_mean_iou_by_hand() -> None:
    truth = np.array([[[0, 0], [1, 255]]])
    decided = np.array([[[0, 1], [1, 1]]])
    # Class 0: 1 of 2; class 1: 1 of 2 (the pixel 255 is not judged).
    metric = mean_intersection_over_union
    found = metric({"mask": decided}, truth, dataset(truth, 1))
    assert found == pytest.approx({"miou": 0.5, "pixel_accuracy": 2 / 3})
    scores = np.eye(4)[decided]  # classes 2 and 3 are nowhere and do not count
    assert metric({"mask": scores}, truth, dataset(truth, 1)) == pytest.approx(found)
    with pytest.raises(EdgepackError) as caught:
        metric({"mask": decided[:, :1]}, truth, dataset(truth, 1))
    assert caught.value.code == "EP303"


@pytest.mark.parametrize("spec", ["map", "miou"])
def test_named_metrics_are_entry_points(spec: str) -> None:
    assert callable(quality.load(spec))


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_metric.py").write_text(
        "def half(outputs, labels, dataset):\n"
        "    assert len(labels) == len(outputs['y']) == dataset.samples\n"
        "    return float((outputs['y'][:, 0] == labels).mean())\n"
        "def two(outputs, labels, dataset):\n"
        "    return {'first': 1.0, 'second': 2}\n"
        "two.bootstrap = False\n"
        "def bad(outputs, labels, dataset):\n"
        "    return float('nan')\n"
        "def worse(outputs, labels, dataset):\n"
        "    raise ZeroDivisionError\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)


def test_a_function_of_ones_own(own) -> None:
    labels = np.arange(40) % 2
    outputs = {"y": np.zeros((40, 1))}
    found = quality.judge(("own_metric:half", "own_metric:two"), outputs, dataset(labels, 40))
    assert (found.metric, found.value, found.n) == ("half", 0.5, 40)
    assert found.ci95 is not None and 0.3 < found.ci95[0] < 0.5 < found.ci95[1] < 0.7
    assert found.extra == {"first": 1.0, "second": 2.0} and found.extra_ci95 == {}
    again = quality.judge(("own_metric:half",), outputs, dataset(labels, 40))
    assert again.ci95 == found.ci95


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("mapp", "EP105"),
        ("own_metric:bad", "EP109"),
        ("own_metric:worse", "EP109"),
        ("own_metric:number", "EP109"),
        ("own_metric:none", "EP109"),
        ("no.such.module:f", "EP109"),
    ],
)
def test_what_is_no_metric(own, spec: str, code: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        quality.judge((spec,), {"y": np.zeros((2, 1))}, dataset(np.zeros(2), 2))
    assert caught.value.code == code
