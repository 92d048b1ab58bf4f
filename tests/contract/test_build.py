"""Real small models through the real converter, checked as a user would check them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack import data
from edgepack.compress import engine, recipes
from edgepack.compress.loading import load
from edgepack.compress.sources import identify
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import Event, PassSpec, Recipe, Transform, Variant

pytestmark = pytest.mark.tensorflow


def _code(code: str):
    return pytest.raises(EdgepackError, check=lambda error: error.code == code)


def _residual(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 3, padding="same", name="inner")(x)
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="label")(x))


def _two_inputs(keras: Any) -> Any:
    """Inputs in an order that is not alphabetical, which swapped names would betray."""
    left, right = keras.Input((4,), name="zebra"), keras.Input((4,), name="ant")
    hidden = keras.layers.Dense(8, activation="relu")(left)
    weak = keras.layers.Dense(8, use_bias=False)(right)
    joined = keras.layers.Concatenate()([hidden, weak])
    return keras.Model(
        [left, right],
        [keras.layers.Dense(2, name="one")(joined), keras.layers.Dense(3, name="two")(joined)],
    )


@pytest.fixture(scope="module")
def residual(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The residual net as a file that nobody changes."""
    return _save(keras, _residual(keras), tmp_path_factory.mktemp("residual") / "m.keras")


@pytest.fixture(scope="module")
def all_kinds(residual: Path, tmp_path_factory: pytest.TempPathFactory) -> engine.Build:
    """The residual net as every kind of file, built once."""
    names = ("int8", "dynamic", "fp16", "int16x8", "float")
    wanted = [recipes.parse(name) for name in names]
    cache = tmp_path_factory.mktemp("all-kinds")
    return engine.build(str(residual), wanted, _images(), cache=cache, emit=lambda event: None)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., engine.Build]:
    def call(model: Path, *names: str, dataset: Dataset | None = None, **options: Any) -> Any:
        wanted = [recipes.parse(name) for name in names]
        options = {"cache": tmp_path / "cache", "emit": lambda event: None, **options}
        return engine.build(str(model), wanted, dataset, **options)

    return call


def _save(keras: Any, model: Any, path: Path) -> Path:
    """Save with seeded weights, because small random nets can agree by accident."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [
            np.abs(rng.normal(0.3, 0.3, w.shape)) + 0.01
            if w.ndim == 1
            else rng.normal(0, 0.4, w.shape)
            for w in model.get_weights()
        ]
    )
    model.save(path)
    return path


def _images() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(96, dtype=np.int32) % 3
    pixels = (
        rng.integers(0, 100, (96, 12, 12, 1), np.uint8)
        + (labels * 70).astype(np.uint8)[:, None, None, None]
    )
    return Dataset(
        x_train={"": pixels},
        y_train=labels,
        x_test={"": pixels},
        y_test=labels,
        transforms={"": Transform(scale=1 / 255)},
        task="classification",
    )


def _variant(build: engine.Build, name: str) -> Variant:
    return next(variant for variant in build.variants if variant.name == name)


def _interpreter(build: engine.Build, name: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(build.files[_variant(build, name).sha256]))


def test_every_quantization_of_a_residual_net(all_kinds: engine.Build) -> None:
    built = all_kinds
    assert [v.name for v in built.variants] == ["float", "int8", "dynamic", "fp16", "int16x8"]
    assert list(built.dataset.x_test) == ["image"]
    for variant in built.variants:
        path = built.files[variant.sha256]
        assert path.stat().st_size == variant.bytes
        assert variant.agreement is not None
        assert variant.agreement.samples == 96
        assert variant.agreement.snr_db > (100 if variant.name == "float" else 18)
        # 12*12*8*9 + 12*12*8*72 multiply-accumulates in the convolutions, 24 in the head.
        assert variant.macs == 12 * 12 * 8 * 9 + 12 * 12 * 8 * 72 + 24
        assert variant.lineage[-1].quality is not None
    # Weights and biases after both normalizations are folded into their convolutions.
    assert _variant(built, "float").params == 72 + 8 + 576 + 8 + 24 + 3
    spec = _variant(built, "int8").signature.inputs[0]
    assert (spec.name, spec.shape, spec.dtype) == ("image", (1, 12, 12, 1), "int8")
    detail = _interpreter(built, "int8").get_input_details()[0]
    assert detail["quantization"] == (pytest.approx(spec.scale), spec.zero_point)
    assert detail["dtype"] is np.int8
    assert _variant(built, "float").signature.outputs[0].dtype == "float32"


def test_pruning_makes_zeros_that_reach_the_file(
    residual: Path, all_kinds: engine.Build, tmp_path: Path
) -> None:
    model = residual
    before = model.read_bytes()
    recipe = Recipe(
        name="short",
        passes=(
            PassSpec(name="prune.magnitude", params={"sparsity": 0.75, "steps": 4}),
            PassSpec(name="quantize.int8"),
        ),
    )
    seen: list[Event] = []

    float_path = all_kinds.files[_variant(all_kinds, "float").sha256]

    def once(folder: str) -> Variant:
        cache = shutil.copytree(float_path.parents[1], tmp_path / folder / "builds")
        built = engine.build(str(model), [recipe], _images(), cache=cache, emit=seen.append)
        return _variant(built, "short")

    first, second = once("a"), once("b")
    assert first.sparsity == pytest.approx(0.75, abs=0.02)
    assert [report.name for report in first.lineage] == ["prune.magnitude", "quantize.int8"]
    assert first.lineage[0].sparsity == pytest.approx(0.75, abs=0.02)
    assert first.sha256 == second.sha256, "the same seed must give the same bytes"
    assert any(event.message == "fine-tuning" and event.total == 4 for event in seen)
    assert model.read_bytes() == before


def test_inputs_and_outputs_keep_their_names(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    model = _save(keras, _two_inputs(keras), tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    inputs = {
        "ant": rng.normal(0, 100, (64, 4)).astype(np.float32),
        "zebra": rng.normal(0, 0.1, (64, 4)).astype(np.float32),
    }
    dataset = Dataset(x_train=inputs, x_test=inputs)
    built = build(model, "int8", dataset=dataset)
    for variant in built.variants:
        assert {spec.name for spec in variant.signature.inputs} == {"zebra", "ant"}
        assert {spec.name for spec in variant.signature.outputs} == {"one", "two"}
        assert variant.agreement.snr_db > 20
    scales = {spec.name: spec.scale for spec in _variant(built, "int8").signature.inputs}
    assert scales["ant"] > 100 * scales["zebra"], "calibration ranges must not be swapped"


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_recurrent_nets(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build], cell: str
) -> None:
    layers = [keras.Input((5, 3)), getattr(keras.layers, cell)(4), keras.layers.Dense(2)]
    model = _save(keras, keras.Sequential(layers), tmp_path / "m.keras")
    built = build(model, "dynamic")
    assert built.dataset.source == "random"
    for variant in built.variants:
        assert variant.agreement.snr_db > 20
        assert variant.macs is None, "a loop's work cannot be counted"


def test_all_file_kinds_give_the_same_outputs(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    import tf_keras

    new, old = _residual(keras), _residual(tf_keras)
    _save(keras, new, tmp_path / "k3.keras")
    old.set_weights(new.get_weights())
    new.save(tmp_path / "k3.h5")
    old.save(tmp_path / "k2.h5")
    old.save(tmp_path / "k2.keras")
    old.save(tmp_path / "k2_saved", save_format="tf")
    new.export(tmp_path / "exported", verbose=False)
    x = {"image": _images().real("test", slice(0, 8)).get("")}
    expected = new(x["image"]).numpy()
    for name in ("k3.keras", "k3.h5", "k2.h5", "k2.keras", "k2_saved", "exported"):
        network = load(identify(str(tmp_path / name)))
        key = network.inputs[0].name
        (output,) = network.predict({key: x["image"]}).values()
        np.testing.assert_allclose(output, expected, atol=1e-5, err_msg=name)
    for name in ("k2_saved", "exported"):
        assert build(tmp_path / name).variants[0].agreement.snr_db > 100


def test_a_tflite_is_taken_as_it_is(
    all_kinds: engine.Build, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    file = tmp_path / "theirs.tflite"
    int8 = _variant(all_kinds, "int8")
    file.write_bytes(all_kinds.files[int8.sha256].read_bytes())
    again = build(file, dataset=_images())
    assert [(v.name, v.sha256) for v in again.variants] == [("as-is", int8.sha256)]
    assert again.variants[0].signature == int8.signature
    assert again.variants[0].params == int8.params
    with _code("EP206"):
        build(file, "dynamic", dataset=_images())


def test_nested_models_survive_the_bridge(keras: Any) -> None:
    import tf_keras

    from edgepack.compress import bridge

    model = _nested_shared(keras)
    rebuilt = bridge.rebuild(json.loads(model.to_json()))
    assert isinstance(rebuilt, tf_keras.Model)
    bridge.write_weights(rebuilt, bridge.read_weights(model))
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_allclose(rebuilt(x).numpy(), model(x).numpy(), atol=1e-6)


def _nested_shared(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, activation="relu", name="d")], name="inner"
    )
    x = keras.Input((6,), name="x")
    joined = layers.Concatenate()([inner(x), inner(layers.LeakyReLU(negative_slope=0.3)(x))])
    return keras.Model(x, layers.Dense(4, name="y")(joined))


def test_a_hit_imports_no_tensorflow_and_a_damaged_entry_is_rebuilt(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    model = _save(keras, _residual(keras), tmp_path / "m.keras")
    built = build(model, "dynamic")
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgepack.compress import engine, recipes\n"
        f"built = engine.build({str(model)!r}, [recipes.parse('dynamic')], None,"
        f" cache=Path({str(tmp_path / 'cache')!r}), emit=lambda event: None)\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
        "print(*[v.sha256 for v in built.variants])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [variant.sha256 for variant in built.variants]
    path = built.files[built.variants[1].sha256]
    path.write_bytes(path.read_bytes()[:-1])
    again = build(model, "dynamic")
    assert [v.sha256 for v in again.variants] == [v.sha256 for v in built.variants]
    assert path.stat().st_size == built.variants[1].bytes
    assert not list((tmp_path / "cache").glob(".new-*"))


def test_files_that_are_no_models(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    good = _save(keras, _residual(keras), tmp_path / "good.keras")
    keras.models.load_model(good).save(tmp_path / "good.h5")
    float_file = build(good).files[build(good).variants[0].sha256].read_bytes()
    (tmp_path / "cut.keras").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "cut.h5").write_bytes((tmp_path / "good.h5").read_bytes()[:3000])
    (tmp_path / "cut.tflite").write_bytes(float_file[: len(float_file) // 2])
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    keras.models.load_model(good).save_weights(tmp_path / "only.weights.h5")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("readme.txt", "not a model")
    with _code("EP201"):
        build(tmp_path / "none.keras")
    bad = ["cut.keras", "cut.h5", "cut.tflite", "text.keras", "empty.tflite", "folder"]
    for name in [*bad, "only.weights.h5", "zip.keras"]:
        with pytest.raises(EdgepackError) as caught:
            build(tmp_path / name)
        assert caught.value.code == "EP202", name


def test_models_with_code_are_refused_unless_it_is_named(
    keras: Any,
    tmp_path: Path,
    build: Callable[..., engine.Build],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_layers.py").write_text(
        "import keras\n"
        "class Double(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import their_layers

    layers = [keras.Input((3,)), their_layers.Double(), keras.layers.Dense(2)]
    keras.Sequential(layers).save("custom.keras")
    anonymous = [keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)]
    keras.Sequential(anonymous).save("lambda.keras")
    keras.Sequential(anonymous).save("lambda.h5")
    for name in ("custom.keras", "lambda.keras", "lambda.h5"):
        with pytest.raises(EdgepackError) as caught:
            build(tmp_path / name)
        assert caught.value.code == "EP203", name
    built = build(tmp_path / "custom.keras", allow_custom_objects="their_layers")
    assert built.variants[0].agreement.max_abs_diff < 1e-5
    with _code("EP203"):
        build(tmp_path / "lambda.keras", allow_custom_objects="no_such_layers")


def test_data_and_recipes_that_do_not_fit(
    keras: Any, tmp_path: Path, build: Callable[..., engine.Build]
) -> None:
    model = _save(keras, _residual(keras), tmp_path / "m.keras")
    small = data.Dataset(x_test={"": np.zeros((2, 5, 5, 1), np.float32)})
    with _code("EP303"):
        build(model, dataset=small)
    twice = [recipes.parse("int8"), replace(recipes.parse("dynamic"), name="int8")]
    with _code("EP105"):
        engine.build(str(model), twice, None, cache=tmp_path / "c", emit=lambda event: None)
    nothing = [Recipe(name="as-is")]
    with _code("EP206"):
        engine.build(str(model), nothing, None, cache=tmp_path / "c", emit=lambda event: None)
