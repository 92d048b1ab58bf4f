"""What must load although it looks like what must not, and weights with an architecture apart."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.compress import engine, loading, recipes, sources
from edgepack.compress.network import KerasNetwork
from edgepack.errors import EdgepackError
from tests.hostile_models import refused, write_h5

# ---------------------------------------------------------------- what must stay allowed


@pytest.mark.tensorflow
def test_lambda_runs_once_the_user_names_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    (tmp_path / "my_code.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable('mine')\n"
        "class Double(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import my_code

    model = keras.Sequential(
        [keras.Input((4,)), my_code.Double(), keras.layers.Lambda(lambda x: x + 1)]
    )
    model.save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", "EP203")
    network = loading.load(sources.identify(str(tmp_path / "m.keras")), "my_code")
    name = network.inputs[0].name
    result = network.predict({name: np.ones((1, 4), np.float32)})
    np.testing.assert_array_equal(next(iter(result.values())), [[3, 3, 3, 3]])


@pytest.mark.tensorflow
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_passes_copy_layers_with_code_that_the_user_allowed(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = importlib.import_module(framework)
    (tmp_path / "my_passes.py").write_text("def bent(x):\n    return x * x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import my_passes

    image = keras.layers.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(32, 3, activation=my_passes.bent)(image)
    x = keras.layers.Conv2D(32, 3)(keras.layers.Lambda(lambda x: x * 2)(x))
    x = keras.layers.Dense(3, name="label")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(tmp_path / "m.keras")
    built = engine.build(
        str(tmp_path / "m.keras"),
        [recipes.parse("slim50")],
        None,
        cache=tmp_path / "cache",
        emit=lambda event: None,
        allow_custom_objects="my_passes",
    )
    whole, slim = built.variants
    assert slim.params is not None and whole.params is not None
    assert slim.params < whole.params
    network = loading.load(sources.identify(str(tmp_path / "m.keras")), "my_passes")
    assert isinstance(network, KerasNetwork)
    with loading.allowed(network, None), pytest.raises((TypeError, ValueError), match="bent"):
        keras.models.clone_model(network.model)


@pytest.mark.tensorflow
def test_a_custom_loss_does_not_matter(tmp_path: Path) -> None:
    import keras

    @keras.saving.register_keras_serializable("somewhere")
    def my_loss(y: Any, p: Any) -> Any:
        return keras.ops.mean(y - p)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])
    model.compile(loss=my_loss, optimizer="adam")
    model.save(tmp_path / "m.keras")
    assert loading.load(sources.identify(str(tmp_path / "m.keras"))).params() == 10


@pytest.mark.tensorflow
def test_saved_model_operations(tmp_path: Path) -> None:
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def serve(self, x: Any) -> Any:
            tf.io.write_file(str(tmp_path / "marker"), "was here")
            return x + 1

    class Python(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def serve(self, x: Any) -> Any:
            return tf.reshape(tf.py_function(lambda v: v, [x], tf.float32), (1, 4))

    class Plain(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(tf.ones((4, 2)))

        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def serve(self, x: Any) -> Any:
            return {"y": x @ self.w}

    for kind in (Writes, Python, Plain):
        module = kind()
        tf.saved_model.save(module, str(tmp_path / kind.__name__), signatures=module.serve)
    assert "WriteFile" in refused(tmp_path / "Writes", "EP203")
    assert "PyFunc" in refused(tmp_path / "Python", "EP203")
    assert not (tmp_path / "marker").exists()
    network = loading.load(sources.identify(str(tmp_path / "Plain")))
    assert [spec.name for spec in network.outputs] == ["y"]
    pb = tmp_path / "Plain" / "saved_model.pb"
    pb.write_bytes(pb.read_bytes()[:-7])
    refused(tmp_path / "Plain", "EP202")


# ---------------------------------------------------------------- architecture and weights apart

ARCH = """
import {keras} as keras
def net(width=3):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(width, name="a"),
                             keras.layers.Dense(2, name="b")])
def wide():
    return net(5)
def fails():
    raise RuntimeError("no such thing")
def text():
    return "a model"
"""


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("keras_name", "file"),
    [
        ("keras", "w.weights.h5"),
        ("keras", "whole.h5"),
        ("tf_keras", "w.h5"),
        ("tf_keras", "w.weights.h5"),
        ("tf_keras", "whole.h5"),
    ],
)
def test_weights_go_into_the_network_that_the_function_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras_name: str, file: str
) -> None:
    module = f"arch_{keras_name}_{file.replace('.', '_')}"
    (tmp_path / f"{module}.py").write_text(ARCH.format(keras=keras_name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    model = __import__(module).net()
    model.save(file) if file == "whole.h5" else model.save_weights(file)
    renamed = Path(file).rename("renamed.bin")  # the name of a file decides nothing
    source = sources.identify(str(renamed), f"{module}:net")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    network = loading.load(source)
    (result,) = network.predict({network.inputs[0].name: x}).values()
    np.testing.assert_allclose(result, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.tensorflow
def test_functions_that_make_another_network_or_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "arch_odd.py").write_text(ARCH.format(keras="keras"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("arch_odd").net().save_weights("w.weights.h5")
    weights = tmp_path / "w.weights.h5"
    assert "do not fit" in refused(weights, "EP202", arch="arch_odd:wide")
    assert "no such thing" in refused(weights, "EP105", arch="arch_odd:fails")
    assert "str" in refused(weights, "EP105", arch="arch_odd:text")


def test_digest_covers_weights_and_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    weights = write_h5(tmp_path / "w.h5", None)
    code = tmp_path / "digested_arch.py"
    code.write_text(ARCH.format(keras="keras"))
    first = sources.identify(str(weights), "digested_arch:net").sha256
    assert sources.identify(str(weights), "digested_arch:net").sha256 == first
    assert sources.identify(str(weights), "digested_arch:wide").sha256 != first
    code.write_text(ARCH.format(keras="keras") + "# changed\n")
    assert sources.identify(str(weights), "digested_arch:net").sha256 != first
    assert "digested_arch" not in sys.modules  # a digest runs nothing
    for bad in ("digested_arch", "digested_arch:", ":net", "no_such_module_x:net"):
        with pytest.raises(EdgepackError) as caught:
            sources.identify(str(weights), bad)
        assert caught.value.code == "EP105"
