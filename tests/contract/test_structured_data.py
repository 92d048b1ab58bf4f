"""What structured pruning takes from data: gradients of any labelled output, statistics."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgepack.compress.structured import Samples, prune

pytestmark = pytest.mark.tensorflow

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(40, 8, 8, 1)).astype("float32")


def net(kind: str) -> Any:
    """Channels 4 to 7 of "conv" reach only what the labels say nothing of, or hardly anything."""
    keras.utils.set_random_seed(2)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    pooled = layers.GlobalAveragePooling2D()(x)
    outputs = {
        "binary": lambda: layers.Dense(1, activation="sigmoid", name="last")(pooled),
        "logit": lambda: layers.Dense(1, name="last")(pooled),
        "second": lambda: [
            layers.Dense(2, activation="softmax", name="other")(pooled),
            layers.Dense(10, activation="softmax", name="last")(pooled),
        ],
        "pixels": lambda: layers.Conv2D(3, 1, activation="softmax", name="last")(x),
    }[kind]()
    model = keras.Model(image, outputs)
    kernel, bias = model.get_layer("last").get_weights()
    kernel[..., 4:, :] *= 1e-4
    model.get_layer("last").set_weights([kernel, bias])
    return model


LABELS = {
    "binary": RNG.integers(0, 2, 40),
    "logit": RNG.integers(0, 2, (40, 1)),
    "second": np.arange(40) % 10,
    "pixels": RNG.integers(0, 3, (40, 8, 8)),
}


def ranked(model: Any, labels: Any) -> tuple[Any, tuple[str, ...]]:
    samples = Samples(inputs={"image": IMAGES}, labels=labels)
    smaller, report = prune(model, ratio=0.5, importance="taylor", multiple=4, data=samples)
    return smaller, report.notes


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, "int32") for kind in LABELS), ("binary", "float32"), ("logit", "float32")],
)
def test_gradients_come_from_the_output_that_has_the_labels(kind: str, dtype: str) -> None:
    model = net(kind)
    smaller, notes = ranked(model, LABELS[kind].astype(dtype))
    assert notes == ()
    before, after = (one.get_layer("conv").get_weights()[0] for one in (model, smaller))
    np.testing.assert_array_equal(after, before[..., :4])


@pytest.mark.parametrize(
    "labels", [np.zeros((40, 7)), np.full(40, 255), np.full(40, -1)], ids=["shape", "void", "minus"]
)
def test_labels_of_no_output_leave_the_outputs_to_rank_by(labels: Any) -> None:
    smaller, notes = ranked(net("second"), labels.astype("int32"))
    assert smaller.get_layer("conv").filters == 4
    assert "fit no output" in notes[0]


@pytest.mark.parametrize(
    ("count", "frozen"),
    [(5, False), (65, False), (96, False), (129, False), (150, False), (150, True)],
)
def test_batch_norms_weigh_samples_alike_however_many_there_are(count: int, frozen: bool) -> None:
    """A last batch of one has no variance, and one of a few has too little."""
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((32,), name="x"),
            layers.Dense(16, name="cut"),
            layers.Dense(16, use_bias=False, name="before"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2),
        ]
    )
    model.get_layer("norm").trainable = not frozen
    x = np.random.default_rng(1).normal(1.0, size=(count, 32)).astype("float32")
    cut, _ = prune(model, ratio=0.25, multiple=4, data=Samples(inputs={"x": x}))
    seen = np.asarray(keras.Model(cut.input, cut.get_layer("before").output)(x))
    norm = cut.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, seen.mean(0), atol=1e-4)
    share = np.asarray(norm.moving_variance) / seen.var(0)
    assert 0.95 < share.mean() < 1.01
    assert (norm.momentum, norm.trainable) == (0.99, not frozen)
