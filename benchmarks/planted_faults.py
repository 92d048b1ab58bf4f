"""Small nets with one fault planted in each, and healthy ones, for the diagnosis to be judged.

The faults keep the float function (a channel that is blown up is scaled down again by the
layer that reads it) or touch the calibration only, so that int8 is all that suffers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.compress.calibration import Ranges, measure_ranges
from edgepack.compress.flatbuffer_quantizer import tensorflow_int8
from edgepack.compress.flatgraph import read
from edgepack.compress.inspect import summarize
from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import KerasNetwork
from edgepack.data.dataset import Array

SAMPLES = 32
HEALTHY = "healthy"


@dataclass(frozen=True)
class Planted:
    """One case: the cause that is to be named, and both files with data to run them on.

    layer, channel: where the fault is, where it is at one tensor or channel.
    """

    name: str
    cause: str
    float_model: bytes
    quantized: bytes
    inputs: dict[str, Array]
    layer: str | None = None
    channel: int | None = None


def cases(seeds: range) -> Iterator[Planted]:
    """Every fault on every net that it fits, and every healthy net, once a seed."""
    for seed in seeds:
        for net in (plain, residual, mobile, tabular, batch_norm):
            yield from calibration_faults(net, seed)
            yield blown_up_channel(net, seed)
        for number in range(3 * seed, 3 * seed + 3):
            yield concat_scales(number)
            yield layer_norm(number)
        for net in (inception, normalized):
            yield healthy(net, seed)


# ---------------------------------------------------------------- nets


def plain(seed: int) -> Any:
    keras, image = _start(seed)
    x = _conv(12, "a")(image)
    x = _conv(16, "b")(x)
    x = _conv(16, "c", strides=2)(x)
    return _classifier(keras, image, x)


def residual(seed: int) -> Any:
    keras, image = _start(seed)
    x = _conv(16, "stem")(image)
    y = _conv(16, "a")(x)
    y = _conv(16, "b", activation=None)(y)
    x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    return _classifier(keras, image, x)


def mobile(seed: int) -> Any:
    keras, image = _start(seed)
    x = _conv(16, "a")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name="b")(x)
    x = _conv(24, "c", kernel=1)(x)
    return _classifier(keras, image, x)


def batch_norm(seed: int) -> Any:
    keras, image = _start(seed)
    x = image
    for name in ("a", "b"):
        x = _conv(16, name, activation=None)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        x = keras.layers.ReLU()(x)
    return _classifier(keras, image, _conv(16, "c")(x))


def tabular(seed: int) -> Any:
    keras, _ = _start(seed)
    features = keras.Input((24,), name="x")
    x = keras.layers.Dense(48, activation="relu", name="a")(features)
    x = keras.layers.Dense(32, activation="relu", name="b")(x)
    x = keras.layers.Dense(10, name="scores")(x)
    return keras.Model(features, x)


def inception(seed: int) -> Any:
    keras, image = _start(seed)
    x = _conv(12, "stem")(image)
    branches = [_conv(12, "left")(x), _conv(12, "right", kernel=1)(x)]
    x = keras.layers.Concatenate(name="join")(branches)
    return _classifier(keras, image, _conv(16, "after")(x))


def normalized(seed: int) -> Any:
    keras, _ = _start(seed)
    features = keras.Input((8, 24), name="x")
    x = keras.layers.Dense(32, name="a")(features)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    x = keras.layers.Dense(32, activation="relu", name="b")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(features, keras.layers.Dense(10, name="scores")(x))


# ---------------------------------------------------------------- faults


def healthy(net: Callable[[int], Any], seed: int) -> Planted:
    model = net(seed)
    data = inputs_for(model, seed)
    return _case(f"{net.__name__}-{seed}", HEALTHY, converted(model), data, data)


def blown_up_channel(net: Callable[[int], Any], seed: int) -> Planted:
    """One channel's weights times 64 to 512, undone by the layer behind it."""
    model, rng = net(seed), np.random.default_rng(seed)
    factor = float(2 ** rng.uniform(6, 9))
    first, second = ("c", None) if net is mobile else ("a", "b")
    made = model.get_layer("a_bn" if net is batch_norm else first)
    reader = model.get_layer(second) if second else model.get_layer("scores")
    channel = int(np.argmax(np.abs(made.get_weights()[0]).reshape(-1, _width(made)).sum(axis=0)))
    weights = made.get_weights()
    for weight in weights[:2]:
        weight[..., channel] *= factor
    made.set_weights(weights)
    weights = reader.get_weights()
    weights[0][..., channel, :] /= factor
    reader.set_weights(weights)
    data = inputs_for(model, seed)
    case = _case(f"{net.__name__}-{seed}", "outlier channel", converted(model), data, data)
    return replace(case, channel=channel)


def concat_scales(seed: int) -> Planted:
    """One branch times 64 to 512, undone by the layer behind the concatenation."""
    model, rng = inception(seed), np.random.default_rng(seed)
    factor = float(2 ** rng.uniform(6, 9))
    left, after = model.get_layer("left"), model.get_layer("after")
    left.set_weights([weight * factor for weight in left.get_weights()])
    kernel, bias = after.get_weights()
    kernel[:, :, :12] /= factor
    after.set_weights([kernel, bias])
    data = inputs_for(model, seed)
    return _case(f"inception-{seed}", "concat scales", converted(model), data, data)


def layer_norm(seed: int) -> Planted:
    """Rows whose sizes differ by orders of magnitude, as a LayerNorm is there to take."""
    model = normalized(seed)
    data = inputs_for(model, seed)
    sizes = 10 ** np.random.default_rng(seed).uniform(-2, 1, (SAMPLES, 8, 1))
    data["x"] = (data["x"] * sizes).astype(np.float32)
    layer = model.get_layer("a")
    layer.set_weights([layer.get_weights()[0], 0 * layer.get_weights()[1]])
    return _case(f"normalized-{seed}", "sensitive operators", converted(model), data, data)


def calibration_faults(net: Callable[[int], Any], seed: int) -> Iterator[Planted]:
    """One net, healthy and with four faults of its calibration."""
    model, rng = net(seed), np.random.default_rng(seed)
    data = inputs_for(model, seed)
    content = converted(model)
    name = f"{net.__name__}-{seed}"
    ranges = measure_ranges(content, data)
    inner = _inner(content)
    yield _case(name, HEALTHY, content, data, data)
    for kind, factor in (("wide", 10 ** rng.uniform(2, 4)), ("none", 10 ** rng.uniform(-5, -3))):
        victim = inner[rng.integers(len(inner))]
        low, high = ranges[victim]
        broken = {**ranges, victim: (low * factor, high * factor)}
        case = _quantize(f"{name}-{kind}", "dead scale", content, broken, data)
        yield replace(case, layer=victim)
    stray = {"x": np.concatenate([data["x"], data["x"][:1] * 10 ** rng.uniform(2, 3)])}
    stray["x"] = stray["x"].astype(np.float32)
    yield _case(f"{name}-stray", "dead scale", content, stray, data)
    small = {"x": (data["x"] * rng.uniform(0.02, 0.1)).astype(np.float32)}
    yield _case(f"{name}-small", "saturated activations", content, small, data)


# ---------------------------------------------------------------- parts


def _case(
    name: str, cause: str, content: bytes, calibration: dict[str, Array], data: dict[str, Array]
) -> Planted:
    return _quantize(name, cause, content, measure_ranges(content, calibration), data)


def _quantize(
    name: str, cause: str, content: bytes, ranges: Ranges, data: dict[str, Array]
) -> Planted:
    return Planted(f"{cause}/{name}", cause, content, tensorflow_int8(content, ranges), data)


def _inner(content: bytes) -> list[str]:
    """Activations that layers with weights make inside the net."""
    graph = read(content)
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    made = [op for op in graph.ops if op.kind in kinds]
    return [graph.name(op) for op in made if op.outputs[0] not in graph.outputs]


def converted(model: Any) -> bytes:
    tf = tensorflow()
    with tempfile.TemporaryDirectory() as folder, quiet():
        KerasNetwork(model=model, framework="keras").export(Path(folder) / "model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "model"))
        content = bytes(converter.convert())
    assert summarize(content).signature.inputs[0].name == "x"
    return content


def inputs_for(model: Any, seed: int) -> dict[str, Array]:
    """Smooth fields for images, Gaussian features otherwise."""
    rng = np.random.default_rng(seed + 1000)
    x = rng.normal(size=(SAMPLES, *model.input_shape[1:]))
    if x.ndim == 4:
        x = sum(np.roll(x, (dy, dx), (1, 2)) for dy in range(3) for dx in range(3)) / 3
    return {"x": x.astype(np.float32)}


def _start(seed: int) -> tuple[Any, Any]:
    tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    return keras, keras.Input((10, 10, 3), name="x")


def _conv(
    filters: int, name: str, *, kernel: int = 3, strides: int = 1, activation: str | None = "relu"
) -> Any:
    import keras

    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        activation=activation,
        kernel_initializer="he_normal",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.1),
        name=name,
    )


def _classifier(keras: Any, image: Any, x: Any) -> Any:
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="scores")(x))


def _width(layer: Any) -> int:
    return int(layer.get_weights()[0].shape[-1])
