"""Structured pruning on nets whose right answer is known, and on real architectures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from structured_checks import (
    MADE,
    anatomy_of,
    difference,
    outputs,
    random_cut,
    run_as_tflite,
    zero,
)

from edgepack.compress.structured import (
    Cut,
    Limits,
    Samples,
    StructuredReport,
    Target,
    apply_cut,
    plan_cut,
    prune,
)
from edgepack.errors import EdgepackError

pytestmark = pytest.mark.tensorflow


def residual_net(width: int = 16) -> Any:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(width, 3, padding="same", name="stem")(image)
    y = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.Conv2D(width, 3, padding="same", use_bias=False, name="branch")(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Conv2D(2 * width, 1, activation="relu", name="wide")(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(4, name="scores")(x), name="residual")


def images(count: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8, 8, 3)).astype("float32")


def groups(report: StructuredReport) -> dict[str, tuple[int, int]]:
    return {group.name: (group.before, group.after) for group in report.groups}


APPLICATIONS = ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50", "DenseNet121"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", APPLICATIONS)
def test_dead_channels_of_real_architectures_go_without_a_trace(name: str) -> None:
    keras.utils.set_random_seed(3)
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    anatomy = anatomy_of(model)
    cut = random_cut(anatomy, seed=3)
    zero(anatomy, cut, MADE)
    smaller = apply_cut(model, cut)
    inputs = [np.random.default_rng(0).random((1, 64, 64, 3)).astype("float32")]
    assert smaller.count_params() < 0.8 * model.count_params()
    assert difference(outputs(model, inputs), outputs(smaller, inputs)) < 1e-5
    assert difference(outputs(smaller, inputs), run_as_tflite(smaller, inputs)) < 1e-3
    assert [kept.total for kept in anatomy.kept] == [10]  # the class scores, nothing else


def test_residual_channels_go_together_and_the_rest_is_copied_bit_for_bit() -> None:
    model = residual_net()
    smaller = apply_cut(model, Cut(removed={"stem": (1, 5), "wide": (0,)}))
    stay = [n for n in range(16) if n not in (1, 5)]
    for name in ("stem", "branch"):
        assert smaller.get_layer(name).filters == 14
    np.testing.assert_array_equal(
        smaller.get_layer("branch").get_weights()[0],
        model.get_layer("branch").get_weights()[0][:, :, stay][..., stay],
    )
    flat = model.get_layer("scores").get_weights()[0].reshape(8, 8, 32, 4)
    np.testing.assert_array_equal(
        smaller.get_layer("scores").get_weights()[0], flat[:, :, 1:].reshape(-1, 4)
    )
    assert model.get_layer("stem").filters == 16


def test_what_cannot_be_followed_is_kept_and_named() -> None:
    class Mystery(layers.Layer):
        def call(self, x: Any) -> Any:
            return x[..., ::-1]

    sequence = keras.Input((6, 4))
    x = layers.Conv1D(16, 3, name="before_mystery")(sequence)
    x = layers.Conv1D(16, 3, activation="relu", name="free")(Mystery(name="mystery")(x))
    x = layers.Conv1D(16, 1, name="before_lstm")(x)
    x = layers.Dense(8, activation="softmax", name="soft")(layers.LSTM(8, name="lstm")(x))
    model = keras.Model(sequence, layers.Dense(2, name="scores")(x))
    smaller, report = prune(model, ratio=0.5)
    assert groups(report) == {"free": (16, 8)}
    assert smaller.get_layer("free").filters == 8
    said = {kept.layer: str(kept) for kept in report.kept}
    assert "mystery: Mystery has no rule" in said["before_mystery"]
    assert "lstm: LSTM has no rule" in said["before_lstm"]
    assert "softmax" in said["soft"]
    assert "output of the model" in said["scores"]


def test_a_model_without_a_graph_comes_back_whole_with_the_reason() -> None:
    class Custom(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Custom()
    model(np.zeros((1, 3), "float32"))
    same, report = prune(model, ratio=0.5)
    assert same is model
    assert "code of its own" in report.notes[0]


@pytest.mark.parametrize("measure", ["ratio", "macs", "params"])
@pytest.mark.parametrize("steps", [1, 3])
def test_targets_are_reached_and_not_overshot(measure: str, steps: int) -> None:
    _, report = prune(residual_net(32), **{measure: 0.5}, multiple=1, floor=0.05, steps=steps)
    left = {
        "ratio": report.channels_after / report.channels_before,
        "macs": report.macs_after / report.macs_before,
        "params": report.params_after / report.params_before,
    }[measure]
    assert 0.44 <= left <= 0.5
    assert report.notes == ()


def test_costs_agree_with_keras_and_with_a_count_by_hand() -> None:
    model = residual_net()
    smaller, report = prune(model, ratio=0.5, scope="layer")
    assert report.params_before == model.count_params()
    assert report.params_after == smaller.count_params()
    convolutions = 64 * (9 * 3 * 16 + 9 * 16 * 16 + 16 * 32)
    assert report.macs_before == convolutions + 64 * 32 * 4


def test_a_latency_target_is_met_with_the_mildest_cut_on_the_staircase() -> None:
    def latency_of(model: Any) -> float:  # a device that likes blocks of 8 channels
        return sum(-(-layer.filters // 8) for layer in model.layers if hasattr(layer, "filters"))

    smaller, report = prune(residual_net(32), latency=10.0, latency_of=latency_of, multiple=1)
    assert latency_of(smaller) <= 10.0
    assert latency_of(smaller) >= 9.0
    assert report.notes == ()


def test_steps_towards_a_latency_take_the_same_share_each() -> None:
    def latency_of(model: Any) -> float:
        return float(model.count_params()) / 1e6

    seen, whole = [], residual_net(64)

    def between(model: Any, step: int) -> Any:
        seen.append(latency_of(model) / latency_of(whole))
        return model

    options: dict[str, Any] = {"latency_of": latency_of, "multiple": 1, "between": between}
    last, _ = prune(whole, latency=latency_of(whole) / 16, floor=0.01, steps=4, **options)
    seen.append(latency_of(last) / latency_of(whole))
    np.testing.assert_allclose(seen, [1 / 2, 1 / 4, 1 / 8, 1 / 16], rtol=0.1)
    same, _ = prune(whole, latency=2 * latency_of(whole), steps=3, **options)
    assert same.count_params() == whole.count_params()


def test_an_unreachable_target_is_said() -> None:
    model, report = prune(residual_net(), ratio=0.95)
    assert "not reached" in report.notes[0]
    assert model.get_layer("stem").filters == 8


@pytest.mark.parametrize("multiple", [4, 8])
def test_counts_that_stay_are_multiples_and_above_the_floor(multiple: int) -> None:
    _, report = prune(residual_net(40), ratio=0.6, multiple=multiple, floor=0.25)
    for before, after in groups(report).values():
        assert after % multiple == 0
        assert after >= before / 4


def test_small_groups_stay_whole_rather_than_become_an_odd_size() -> None:
    assert Limits(multiple=8).allowed(6) == [6]
    assert Limits(multiple=8).allowed(12) == [8, 12]
    assert Limits(multiple=8, floor=0.5).allowed(40) == [24, 32, 40]


@pytest.mark.parametrize("importance", ["l1", "l2", "bn", "taylor"])
def test_nearly_dead_channels_are_the_first_to_go(importance: str) -> None:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(16, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="scores"),
        ]
    )
    dead = [2, 3, 7, 11]
    for name, where in {"conv": np.s_[..., dead], "norm": dead, "scores": dead}.items():
        weights = model.get_layer(name).get_weights()
        weights[0][where] *= 1e-3
        model.get_layer(name).set_weights(weights)
    labels = np.random.default_rng(0).integers(0, 3, 32)
    samples = Samples(inputs={"image": images()}, labels=labels)
    cut = plan_cut(
        model,
        Target("ratio", 0.25),
        importance=importance,
        limits=Limits(multiple=4),
        samples=samples,
    )
    assert cut.removed == {"conv": tuple(dead)}


def test_random_importance_is_repeatable_and_depends_on_the_seed() -> None:
    model, target = residual_net(), Target("ratio", 0.5)
    first, again, other = (
        plan_cut(model, target, importance="random", seed=seed).removed for seed in (1, 1, 2)
    )
    assert first == again != other


def test_layer_scope_takes_the_same_share_everywhere() -> None:
    _, report = prune(residual_net(32), ratio=0.5, scope="layer")
    assert set(groups(report).values()) == {(32, 16), (64, 32)}


def test_repair_keeps_the_outputs_when_constant_channels_go() -> None:
    """A channel that is always 0.5 carries nothing but belongs into the next layer's bias."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(16, 3, activation="sigmoid", name="conv"),
            layers.Conv2D(8, 3, name="reader"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 8:] = 0
    model.get_layer("conv").set_weights([kernel, bias])
    samples = Samples(inputs={"image": images()})
    repaired, _ = prune(model, ratio=1 / 3, floor=0.5, data=samples)
    plain, _ = prune(model, ratio=1 / 3, floor=0.5)
    assert repaired.get_layer("conv").filters == 8
    inputs = [images(seed=1)]
    assert difference(outputs(model, inputs), outputs(repaired, inputs)) < 1e-5
    assert difference(outputs(model, inputs), outputs(plain, inputs)) > 1e-2


def test_repair_gives_batch_norms_the_statistics_of_the_cut_model() -> None:
    model = residual_net()
    repaired, _ = prune(model, ratio=0.5, data=Samples(inputs={"image": images(64)}))
    head = keras.Model(repaired.input, repaired.get_layer("stem").output)
    expected = np.asarray(head(images(64))).mean(axis=(0, 1, 2))
    norm = repaired.get_layer("stem_norm")
    np.testing.assert_allclose(np.asarray(norm.moving_mean), expected, atol=1e-5)


def test_nested_models_are_inlined_and_stay_frozen_as_they_were_called() -> None:
    image = keras.Input((8, 8, 3))
    inner_input = keras.Input((8, 8, 3))
    inner_output = layers.BatchNormalization(name="norm")(layers.Conv2D(16, 3)(inner_input))
    inner = keras.Model(inner_input, inner_output, name="base")
    inner.trainable = False
    x = layers.GlobalAveragePooling2D()(inner(image, training=False))
    model = keras.Model(image, layers.Dense(2)(x))
    smaller, _ = prune(model, ratio=0.5)
    assert not any(isinstance(layer, keras.Model) for layer in smaller.layers)
    norm = smaller.get_layer("norm")
    before = np.asarray(norm.moving_mean).copy()
    smaller(images(4) + 3.0, training=True)
    np.testing.assert_array_equal(np.asarray(norm.moving_mean), before)
    assert norm.trainable is False


def test_volumes_and_channels_first_are_cut_too() -> None:
    volume = keras.Input((6, 6, 6, 2))
    x = layers.Conv3D(8, 3, padding="same", activation="relu", name="conv")(volume)
    x = layers.UpSampling3D(2)(layers.MaxPooling3D(2)(layers.AveragePooling3D(1)(x)))
    x = layers.GlobalMaxPooling3D()(x)
    model = keras.Model(volume, layers.Dense(2)(x))
    smaller, _ = prune(model, ratio=0.5, multiple=4)
    assert smaller.get_layer("conv").filters == 4

    sequence = keras.Input((6, 3))
    x = layers.Permute((2, 1))(layers.UpSampling1D(2)(layers.Conv1D(8, 1, name="conv")(sequence)))
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.AveragePooling1D(2, data_format="channels_first")(x)
    x = layers.GlobalAveragePooling1D(data_format="channels_first")(x)
    model = keras.Model(sequence, layers.Dense(2)(x))
    anatomy = anatomy_of(model)
    cut = random_cut(anatomy, seed=0, share=1.0)
    zero(anatomy, cut, MADE)
    inputs = [np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")]
    change = difference(outputs(model, inputs), outputs(apply_cut(model, cut), inputs))
    assert cut.removed
    assert change < 1e-5


def test_a_tf_keras_model_is_cut_as_its_keras_3_twin() -> None:
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((8, 8, 3)),
            tf_keras.layers.Conv2D(16, 3, activation="relu", name="conv"),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(2),
        ]
    )
    smaller, report = prune(model, ratio=0.5)
    assert isinstance(smaller, keras.Model)
    assert groups(report) == {"conv": (16, 8)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": 0.5, "macs": 0.5},
        {"ratio": 1.0},
        {"ratio": 0.5, "importance": "l3"},
        {"ratio": 0.5, "importance": "taylor"},
        {"ratio": 0.5, "scope": "everywhere"},
        {"ratio": 0.5, "multiple": 0},
        {"ratio": 0.5, "steps": 0},
        {"latency": 1.0},
    ],
)
def test_invalid_values_are_refused_with_a_hint(options: dict[str, Any]) -> None:
    with pytest.raises(EdgepackError) as caught:
        prune(residual_net(), **options)
    assert caught.value.code == "EP105"
    assert caught.value.hint


def test_a_cut_of_another_model_is_refused() -> None:
    for removed in ({"nowhere": (0,)}, {"stem": (99,)}, {"stem": tuple(range(16))}):
        with pytest.raises(EdgepackError, match="EP206"):
            apply_cut(residual_net(), Cut(removed=removed))
