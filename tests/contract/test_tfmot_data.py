"""What the passes by TFMOT learn from: which rows, and labels or the source's outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.compress import heldback
from edgepack.compress.network import KerasNetwork
from edgepack.compress.passes.base import Context, State
from edgepack.compress.passes.prune_magnitude import PruneMagnitude
from edgepack.compress.passes.prune_structured import _samples
from edgepack.compress.tfmot import host, tuning
from edgepack.data.dataset import Dataset, assemble
from edgepack.data.npz import read_npz

pytestmark = pytest.mark.tensorflow

ROWS = 200


class _SentError(Exception):
    """Where the worker would have started."""


def _network(keras: Any, *, pixels: bool = False, activation: str | None = "softmax") -> Any:
    """A net for three classes, of each image or of each of its pixels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    if not pixels:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    out = keras.layers.Dense(3, activation=activation, name="label")(x)
    return KerasNetwork(model=keras.Model(image, out), framework="keras")


def _data(labels: np.ndarray, *, tested: bool = True) -> Dataset:
    """Images that all differ, so that a row can be told by its pixels."""
    images = np.arange(ROWS * 16, dtype=np.float32).reshape(ROWS, 4, 4, 1) / ROWS
    return assemble(
        {"image": images}, labels, {"image": images}, labels if tested else None, where="here"
    )


def _context(network: Any, data: Dataset, folder: Path) -> Context:
    return Context(
        source=network,
        dataset=data,
        recipe="r",
        seed=0,
        workdir=folder,
        emit=lambda event: None,
    )


def _sent(network: Any, data: Dataset, folder: Path, monkeypatch: Any) -> tuple[Any, Any]:
    """The job and the arrays that the worker would have got."""

    def stop(folder: Path, context: Context, limit: float) -> None:
        raise _SentError(folder)

    monkeypatch.setattr(host, "run_worker", stop)
    step = PruneMagnitude({"epochs": 1, "batch_size": 16})
    with pytest.raises(_SentError) as caught:
        step.run(State(network=network), _context(network, data, folder))
    place = Path(str(caught.value))
    return json.loads((place / "job.json").read_text()), read_npz(place / "data.npz")


@pytest.mark.parametrize("tested", [True, False])
def test_class_numbers_are_learned_as_classes_with_and_without_test_labels(
    keras: Any, tmp_path: Path, monkeypatch: Any, tested: bool
) -> None:
    labels = np.arange(ROWS) % 3
    job, arrays = _sent(_network(keras), _data(labels, tested=tested), tmp_path, monkeypatch)
    assert job["head"]["labels"] == "index"
    assert arrays["y:0"].shape == (len(arrays["x:image"]),)


def test_labels_that_do_not_fit_leave_the_source_to_learn_from(
    keras: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    network, data = _network(keras), _data(np.random.default_rng(0).random((ROWS, 7)))
    job, arrays = _sent(network, data, tmp_path, monkeypatch)
    assert job["head"] is None
    expected = network.predict({"image": arrays["x:image"]})["label"]
    np.testing.assert_allclose(arrays["y:0"], expected, atol=1e-5)
    goal = host._goal(network, expected, data.y_train)
    assert "do not fit" in goal.notes[0] and "source model's outputs" in goal.notes[0]


def test_rows_that_are_held_back_are_not_sent(keras: Any, tmp_path: Path, monkeypatch: Any) -> None:
    data = _data(np.arange(ROWS) % 3)
    _, arrays = _sent(_network(keras), data, tmp_path, monkeypatch)
    rows = (arrays["x:image"][:, 0, 0, 0] * ROWS / 16).round().astype(int)
    held = heldback.split(ROWS, 0).held
    assert len(held) == ROWS // 10
    assert not set(rows) & set(held)
    assert set(rows) | set(held) == set(range(ROWS))


def test_channels_are_scored_and_statistics_repaired_on_the_other_rows(tmp_path: Path) -> None:
    data = _data(np.arange(ROWS) % 3)
    context = _context(None, data, tmp_path)
    drawn = _samples(context)
    assert drawn is not None
    rows = (drawn.inputs["image"][:, 0, 0, 0] * ROWS / 16).round().astype(int)
    assert set(rows) == set(heldback.split(ROWS, 0).train)
    again = _samples(replace(context, seed=1))
    assert again is not None
    assert (drawn.inputs["image"] != again.inputs["image"]).any()


@pytest.mark.parametrize(
    ("activation", "labels"),
    [
        ("softmax", np.arange(6) % 3),
        (None, np.arange(6) % 3),
        ("softmax", np.eye(3)[np.arange(6) % 3]),
    ],
)
def test_the_loss_is_the_cross_entropy_of_the_labels(
    keras: Any, activation: str | None, labels: np.ndarray
) -> None:
    import tensorflow as tf
    import tf_keras

    from edgepack.compress.training.heads import describe

    network = _network(keras, activation=activation)
    output = network.predict({"image": np.random.default_rng(0).random((6, 4, 4, 1), np.float32)})
    head = describe(network.model.outputs[0], "label", output["label"], labels)
    # As Keras hands labels to a loss: a number a sample comes as a column.
    column = labels[:, None] if labels.ndim == 1 else labels
    loss = tuning._loss(tf_keras, vars(head))(tf.constant(column), tf.constant(output["label"]))
    logits = output["label"] if activation is None else np.log(output["label"])
    shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    truth = labels if labels.ndim == 1 else labels.argmax(-1)
    assert float(loss) == pytest.approx(-shares[np.arange(6), truth].mean(), rel=1e-4)


def test_a_class_for_each_pixel_is_trained_on(keras: Any, tmp_path: Path) -> None:
    """Through the worker: labels of an image's shape, with a class axis in the output alone;
    and a frozen layer, which is pruned and so has to recover like the others."""
    network = _network(keras, pixels=True)
    network.model.get_layer("conv").trainable = False
    data = _data(np.random.default_rng(0).integers(0, 3, (ROWS, 4, 4)))
    step = PruneMagnitude({"steps": 2, "batch_size": 16})
    state, report = step.run(State(network=network), _context(network, data, tmp_path))
    assert state.network.sparsity() == pytest.approx(0.5, abs=0.1)
    assert not any("source model" in note for note in report.notes)
    assert isinstance(state.network, KerasNetwork)
    conv = state.network.model.get_layer("conv")
    kept = conv.get_weights()[0] != 0
    assert (conv.get_weights()[0] != network.model.get_layer("conv").get_weights()[0])[kept].any()
    assert not conv.trainable


def test_quality_between_passes_is_told_without_test_labels(keras: Any) -> None:
    network = _network(keras)
    data = _data(np.random.default_rng(0).random((ROWS, 3)), tested=False)
    rows = heldback.split(ROWS, 0).held
    expected = network.predict(data.real("train", rows))["label"] - data.y_train[rows]
    found = heldback.quality(network, data, 0)
    assert found == pytest.approx(np.abs(expected).mean(), rel=1e-5)
    one = replace(data, x_train={"image": data.x_train["image"][:1]}, y_train=data.y_train[:1])
    assert heldback.quality(network, one, 0) is None
    assert list(heldback.to_train(1, 0)) == [0]
