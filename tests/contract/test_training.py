"""`finetune` and `distill` on small real networks: what they improve, keep and refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepack.compress.network import KerasNetwork, SavedModelNetwork
from edgepack.compress.passes.base import Context, State
from edgepack.compress.passes.distill import Distill
from edgepack.compress.passes.finetune import Finetune
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import Event, Transform

pytestmark = pytest.mark.tensorflow

CLASSES = 4
IMAGES = Transform(scale=1 / 255)


def quadrants(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8x8 images as bytes; the class is the quadrant that is brighter."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (samples, 8, 8, 1))
    labels = rng.integers(0, CLASSES, samples)
    for image, label in zip(images, labels, strict=True):
        top, left = divmod(int(label), 2)
        image[4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 40
    return images.astype(np.uint8), labels.astype(np.int32)


def dataset(samples: int = 480) -> Dataset:
    x_train, y_train = quadrants(samples, 0)
    x_test, y_test = quadrants(200, 1)
    return Dataset(
        x_train={"image": x_train},
        y_train=y_train,
        x_test={"image": x_test},
        y_test=y_test,
        transforms={"image": IMAGES},
        task="classification",
    )


def classifier(framework: str = "keras", activation: str = "softmax") -> KerasNetwork:
    """A convolution, batch norm, dropout and a dense head; unseeded layers, seeded weights."""
    if framework == "keras":
        import keras
    else:
        import tf_keras as keras
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Dropout(0.1, name="drop")(layers.Flatten(name="flat")(x))
    out = layers.Dense(CLASSES, activation=activation, name="label")(x)
    return KerasNetwork(model=keras.Model(image, out), framework=framework)


def context(source: KerasNetwork, data: Dataset, tmp_path: Path, seed: int = 0) -> Context:
    events: list[Event] = []
    return Context(
        source=source,
        dataset=data,
        recipe="test",
        seed=seed,
        workdir=tmp_path,
        emit=events.append,
    )


def accuracy(network: KerasNetwork, data: Dataset) -> float:
    said = next(iter(network.predict(data.real("test", slice(None))).values()))
    return float((said.argmax(1) == data.y_test).mean())


def weights(network: KerasNetwork) -> list[np.ndarray]:
    return [np.array(w) for w in network.model.get_weights()]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_finetune_learns_from_labels_and_leaves_the_source_alone(framework, activation, tmp_path):
    data, network = dataset(), classifier(framework, activation)
    as_it_was = weights(network)
    step = Finetune({"epochs": 6, "learning_rate": 0.01, "batch_size": 32})
    after, report = step.run(State(network=network), context(network, data, tmp_path))
    assert accuracy(network, data) < 0.6
    assert accuracy(after.network, data) > 0.85
    assert report.quality is not None and report.quality > 0.8
    assert "top1 on 48 held-back training samples" in report.facts[0]
    assert same(weights(network), as_it_was)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> KerasNetwork:
    """A classifier that has learnt its task."""
    network = classifier()
    step = Finetune({"epochs": 6, "learning_rate": 0.01, "batch_size": 32})
    where = context(network, dataset(), tmp_path_factory.mktemp("trained"))
    after = step.run(State(network=network), where)[0].network
    assert isinstance(after, KerasNetwork)
    return after


def test_distill_without_labels_brings_a_damaged_network_back(trained, tmp_path):
    data = dataset()
    rng = np.random.default_rng(0)
    damaged = [
        w + rng.normal(0, 0.5 * w.std(), w.shape) if w.ndim > 1 else w for w in weights(trained)
    ]
    student = classifier()
    student.model.set_weights(damaged)
    unlabelled = replace(data, y_train=None)
    step = Distill({"epochs": 4, "learning_rate": 0.01, "batch_size": 32})
    after, _ = step.run(State(network=student), context(trained, unlabelled, tmp_path))
    reference = trained.predict(data.real("test", slice(None)))["label"]

    def distance(network):
        return float(
            np.abs(network.predict(data.real("test", slice(None)))["label"] - reference).mean()
        )

    assert distance(after.network) < 0.5 * distance(student)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, tmp_path):
    data = dataset()
    step = Distill({"epochs": 2, "augment": "shift-flip"})
    first, second, other = (
        weights(
            step.run(State(network=classifier()), context(trained, data, tmp_path, seed))[0].network
        )
        for seed in (5, 5, 6)
    )
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("step", [Distill({"epochs": 1}), Finetune({"epochs": 1})])
def test_zeros_made_on_purpose_stay_and_the_rest_is_trained(step, trained, tmp_path):
    student = classifier()
    pruned = [
        np.where(np.abs(w) < np.median(np.abs(w)), 0, w) if w.ndim > 1 else w
        for w in weights(trained)
    ]
    student.model.set_weights(pruned)
    after, report = step.run(
        State(network=student, sparse=True), context(trained, dataset(), tmp_path)
    )
    assert after.sparse
    assert report.sparsity == pytest.approx(0.5, abs=0.02)
    for before, now in zip(pruned, weights(after.network), strict=True):
        if before.ndim > 1:
            assert np.array_equal(before == 0, now == 0)
            assert not np.array_equal(before, now)


def test_a_training_that_only_harms_hands_back_what_it_got_and_says_so(trained, tmp_path):
    step = Finetune({"epochs": 2, "learning_rate": 1.0})
    after, report = step.run(State(network=trained), context(trained, dataset(), tmp_path))
    assert same(weights(after.network), weights(trained))
    assert any("as they came" in note for note in report.notes)


def test_weights_that_are_no_numbers_are_said_and_not_kept(trained, tmp_path):
    data = dataset()
    huge = replace(data, transforms={"image": Transform(scale=1e30)})
    step = Finetune({"epochs": 2})
    after, report = step.run(State(network=trained), context(trained, huge, tmp_path))
    assert all(np.isfinite(w).all() for w in weights(after.network))
    assert any("learning_rate" in note for note in report.notes)


def test_raw_bytes_with_a_transform_train_like_real_values(trained, tmp_path):
    raw = dataset()
    real = replace(raw, x_train=raw.real("train", slice(None)), transforms={})
    step = Finetune({"epochs": 1})
    a, b = (
        weights(step.run(State(network=classifier()), context(trained, data, tmp_path))[0].network)
        for data in (raw, real)
    )
    assert all(np.allclose(x, y, atol=1e-4) for x, y in zip(a, b, strict=True))


def test_stale_batch_statistics_are_brought_up_to_date(trained, tmp_path):
    student = classifier()
    student.model.set_weights(weights(trained))
    norm = student.model.get_layer("norm")
    truth = norm.moving_mean.numpy()
    norm.moving_mean.assign(truth + 0.5)
    momentum = norm.momentum
    step = Distill({"epochs": 3, "learning_rate": 1e-5, "batch_size": 32})
    after, _ = step.run(State(network=student), context(trained, dataset(), tmp_path))
    healed = after.network.model.get_layer("norm")
    assert np.abs(healed.moving_mean.numpy() - truth).max() < 0.03
    assert healed.momentum == momentum


def two_by_two() -> KerasNetwork:
    """Two inputs, two outputs: a class and a real number."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    extra = keras.Input((3,), name="extra")
    x = keras.layers.Concatenate(name="join")([keras.layers.Flatten(name="flat")(image), extra])
    x = keras.layers.Dense(16, activation="relu", name="hidden")(x)
    kind = keras.layers.Dense(CLASSES, activation="softmax", name="kind")(x)
    size = keras.layers.Dense(1, name="size")(x)
    return KerasNetwork(model=keras.Model([image, extra], [size, kind]), framework="keras")


def test_several_inputs_and_outputs(tmp_path):
    data = dataset()
    rng = np.random.default_rng(0)

    def more(inputs):
        return {**inputs, "extra": rng.random((len(inputs["image"]), 3)).astype(np.float32)}

    data = replace(data, x_train=more(data.x_train), x_test=more(data.x_test))
    source = two_by_two()
    inputs = data.real("test", slice(None))
    step = Finetune({"epochs": 8, "learning_rate": 0.01, "batch_size": 32})
    after, report = step.run(State(network=source), context(source, data, tmp_path))
    before, now = source.predict(inputs), after.network.predict(inputs)
    assert (now["kind"].argmax(1) == data.y_test).mean() > 0.8
    assert any("the output kind's" in note for note in report.facts)
    # The output without labels still says what the source says.
    assert np.corrcoef(before["size"][:, 0], now["size"][:, 0])[0, 1] > 0.9


def test_a_fixed_batch_size_is_kept_to(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), batch_size=30, name="image")
    flat = keras.layers.Flatten(name="flat")(image)
    out = keras.layers.Dense(CLASSES, activation="softmax", name="label")(flat)
    network = KerasNetwork(model=keras.Model(image, out), framework="keras")
    data = dataset(450)
    step = Distill({"epochs": 2, "alpha": 0.0, "learning_rate": 0.02})
    _, report = step.run(State(network=network), context(network, data, tmp_path))
    assert report.quality is not None and report.quality > 0.5
    with pytest.raises(EdgepackError, match="batches of 30"):
        step.run(State(network=network), context(network, dataset(100), tmp_path))


def test_regression_is_judged_by_its_mean_absolute_error(tmp_path):
    import keras

    rng = np.random.default_rng(0)
    x = rng.random((400, 5)).astype(np.float32)
    y = (1000 * x.sum(1)).astype(np.float32)
    data = Dataset(x_train={"x": x}, y_train=y, x_test={"x": x}, y_test=y, task="regression")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), name="x")
    network = KerasNetwork(
        model=keras.Model(inputs, keras.layers.Dense(1, name="y")(inputs)), framework="keras"
    )
    step = Finetune({"epochs": 20, "learning_rate": 1.0, "batch_size": 16})
    after, report = step.run(State(network=network), context(network, data, tmp_path))
    error = float(np.abs(after.network.predict({"x": x})["y"][:, 0] - y).mean())
    assert error < 0.75 * float(np.abs(network.predict({"x": x})["y"][:, 0] - y).mean())
    assert report.facts[0].startswith("mae")


def test_a_new_head_is_trained_while_frozen_layers_stay_bit_for_bit(trained, tmp_path):
    data = dataset()
    halves = replace(data, y_train=data.y_train // 2, y_test=data.y_test // 2)
    step = Finetune(
        {"epochs": 3, "learning_rate": 0.01, "head": {"classes": 2}, "freeze": ["conv", "no*"]}
    )
    after, report = step.run(State(network=trained), context(trained, halves, tmp_path))
    assert after.network.outputs[0].shape == (None, 2)
    assert after.network.outputs[0].name == "label"
    assert accuracy(after.network, halves) > 0.85
    for name in ("conv", "norm"):
        fixed = trained.model.get_layer(name).get_weights()
        assert same(after.network.model.get_layer(name).get_weights(), fixed)
        assert after.network.model.get_layer(name).trainable
    assert len(report.facts) == 2


def test_features_are_matched_through_a_projection_that_is_not_handed_on(trained, tmp_path):
    from edgepack.compress.structured.api import prune

    small, _ = prune(trained.model, ratio=0.5, multiple=4)
    student = KerasNetwork(model=small, framework="keras")
    step = Distill({"epochs": 1, "features": ["auto"]})
    _, report = step.run(State(network=student), context(trained, dataset(), tmp_path))
    assert report.params == student.params() < trained.params()
    assert any("matched tensors: relu, pool" in note for note in report.facts)


def test_a_softmax_and_its_logits_teach_the_same(trained):
    import tensorflow as tf

    from edgepack.compress.training.heads import Head

    rng = np.random.default_rng(0)
    ours, theirs = (tf.constant(rng.normal(0, 5, (32, 10)).astype(np.float32)) for _ in range(2))
    by_logits = Head(name="a", kind="linear", labels="index").soft_loss(ours, theirs, 4.0)
    by_softmax = Head(name="a", kind="softmax").soft_loss(
        tf.nn.softmax(ours), tf.nn.softmax(theirs), 4.0
    )
    assert float(by_logits) == pytest.approx(float(by_softmax), rel=1e-4)
    assert float(Head(name="a", kind="softmax").soft_loss(*[tf.nn.softmax(ours)] * 2, 4.0)) < 1e-5


@pytest.mark.parametrize(
    ("params", "change", "code", "says"),
    [
        ({}, {"x_train": {}, "y_train": None}, "EP206", "no training samples"),
        ({}, {"y_train": None}, "EP206", "needs labels"),
        ({"freeze": ["conw*"]}, {}, "EP105", "conw"),
        ({"freeze": ["*"]}, {}, "EP206", "frozen"),
        ({}, {"y_train": np.zeros((480, 7), np.float32)}, "EP303", "do not fit"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(params, change, code, says, tmp_path):
    network = classifier()
    data = replace(dataset(), **change)
    with pytest.raises(EdgepackError) as caught:
        Finetune(params).run(State(network=network), context(network, data, tmp_path))
    assert caught.value.code == code
    assert says in caught.value.what


def test_a_network_without_layers_is_refused(tmp_path):
    network = classifier()
    opaque = SavedModelNetwork(folder=tmp_path, function=None, keep_alive=None)
    with pytest.raises(EdgepackError, match="SavedModel without Keras layers"):
        Distill({}).run(State(network=opaque), context(network, dataset(), tmp_path))


def test_an_unknown_feature_names_the_nearest_layer(trained, tmp_path):
    step = Distill({"features": ["rellu"]})
    with pytest.raises(EdgepackError, match="rellu") as caught:
        step.run(State(network=trained), context(trained, dataset(), tmp_path))
    assert caught.value.code == "EP105"
    assert "'relu'" in caught.value.hint


def test_progress_tells_epoch_and_time_left(trained, tmp_path):
    heard: list[Event] = []
    where = replace(context(trained, dataset(), tmp_path), emit=heard.append)
    Distill({"epochs": 2}).run(State(network=trained), where)
    assert "epoch 2/2" in heard[-1].message and "s left" in heard[-1].message
    assert heard[-1].done == heard[-1].total
