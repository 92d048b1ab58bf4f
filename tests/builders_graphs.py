"""Random small Keras graphs, made from a seed, that use every kind of layer the rules know.

`random_model(seed)` gives the same net for the same seed. With `lifting=False` every
activation maps zero to zero, so a channel whose own weights are zero is zero wherever it is
read. Weights, biases and normalization statistics are all random, never left at 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

ZERO_TO_ZERO = ["relu", "tanh", "swish", "gelu", "elu", "leaky_relu", "linear", "relu6", "mish"]
LIFTING = ["sigmoid", "softplus", "hard_sigmoid", "exponential"]
SPATIAL_DROPOUT = {
    3: layers.SpatialDropout1D,
    4: layers.SpatialDropout2D,
    5: layers.SpatialDropout3D,
}


class RandomGraph:
    """Grows one random net; every method takes a tensor and gives the next one."""

    def __init__(self, seed: int, *, lifting: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.activations = ZERO_TO_ZERO + (LIFTING if lifting else [])
        self.lifting = lifting

    def pick(self, options: list[Any]) -> Any:
        return options[self.rng.integers(len(options))]

    def width(self) -> int:
        return int(self.rng.integers(2, 10))

    def activation(self) -> str:
        return self.pick(self.activations)

    def maybe(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    # ------------------------------------------------------------ layers with weights

    def conv(self, x: Any, filters: int | None = None, **options: Any) -> Any:
        kinds = {3: layers.Conv1D, 4: layers.Conv2D, 5: layers.Conv3D}
        settings = {"padding": "same", "use_bias": self.maybe(), "activation": self.activation()}
        settings.update(options)
        kernel = settings.pop("kernel_size", self.pick([1, 3]))
        return kinds[len(x.shape)](filters or self.width(), kernel, **settings)(x)

    def strided(self, x: Any) -> Any:
        return self.conv(x, strides=2) if min(x.shape[1:-1]) >= 4 else self.conv(x)

    def transposed(self, x: Any) -> Any:
        kind = {3: layers.Conv1DTranspose, 4: layers.Conv2DTranspose, 5: layers.Conv3DTranspose}
        strides = 2 if max(x.shape[1:-1]) <= 4 and len(x.shape) == 4 else 1
        return kind[len(x.shape)](self.width(), 3, padding="same", strides=strides)(x)

    def depthwise(self, x: Any) -> Any:
        if len(x.shape) == 5:
            return self.conv(x)
        kind = layers.DepthwiseConv1D if len(x.shape) == 3 else layers.DepthwiseConv2D
        multiplier = self.pick([1, 1, 2])
        return kind(3, padding="same", depth_multiplier=multiplier, use_bias=self.maybe())(x)

    def separable(self, x: Any) -> Any:
        if len(x.shape) == 5:
            return self.conv(x)
        kind = layers.SeparableConv1D if len(x.shape) == 3 else layers.SeparableConv2D
        multiplier = self.pick([1, 2])
        return kind(self.width(), 3, padding="same", depth_multiplier=multiplier)(x)

    def grouped(self, x: Any) -> Any:
        channels = x.shape[-1]
        if len(x.shape) == 5:
            return self.conv(x)
        if self.maybe():  # one group a channel
            return self.conv(x, filters=channels * self.pick([1, 2]), groups=channels)
        even = self.conv(x, filters=4)
        return self.conv(even, filters=6, groups=2)

    def dense(self, x: Any) -> Any:
        return layers.Dense(self.width(), activation=self.activation())(x)

    def batch_norm(self, x: Any) -> Any:
        return layers.BatchNormalization(center=self.maybe(0.8), scale=self.maybe(0.8))(x)

    def other_norm(self, x: Any) -> Any:
        kinds = [
            lambda: layers.GroupNormalization(groups=-1),
            lambda: layers.GroupNormalization(groups=1),
            lambda: layers.LayerNormalization(),
            lambda: layers.UnitNormalization(),
            lambda: layers.RMSNormalization(),
        ]
        return self.pick(kinds)()(x)

    def prelu(self, x: Any) -> Any:
        if len(x.shape) == 5:  # TFLite's operator has four axes at most
            return self.plain(x)
        shared = list(range(1, len(x.shape) - 1)) if self.maybe() else None
        return layers.PReLU(shared_axes=shared)(x)

    # ------------------------------------------------------------ layers without weights

    def plain(self, x: Any) -> Any:
        kinds = [
            lambda: layers.Activation(self.activation()),
            lambda: layers.ReLU(6.0),
            lambda: layers.LeakyReLU(),
            lambda: layers.ELU(),
            lambda: layers.Dropout(0.3),
            lambda: self.pick([layers.AlphaDropout, layers.GaussianDropout])(0.3),
            lambda: SPATIAL_DROPOUT[len(x.shape)](0.3),
            lambda: layers.GaussianNoise(0.1),
            lambda: layers.ActivityRegularization(l2=0.01),
            lambda: layers.Identity(),
            lambda: layers.Rescaling(0.5),
            lambda: layers.Dropout(0.3, noise_shape=(None, *[1] * (len(x.shape) - 1))),
        ]
        return self.pick(kinds)()(x)

    def pool(self, x: Any) -> Any:
        if min(x.shape[1:-1]) < 4 or len(x.shape) == 5:
            return x
        kinds = {
            3: [layers.MaxPooling1D, layers.AveragePooling1D],
            4: [layers.MaxPooling2D, layers.AveragePooling2D],
        }
        return self.pick(kinds[len(x.shape)])(2)(x)

    def resize(self, x: Any) -> Any:
        if len(x.shape) == 3:
            return layers.Cropping1D((1, 1))(layers.ZeroPadding1D((2, 1))(x))
        if len(x.shape) == 5:
            return layers.Cropping3D(1)(layers.ZeroPadding3D(1)(x))
        if max(x.shape[1:-1]) > 4:
            return layers.Cropping2D(((1, 0), (0, 1)))(layers.ZeroPadding2D(((1, 1), (0, 1)))(x))
        return layers.UpSampling2D(2)(x)

    def operations(self, x: Any) -> Any:
        y = keras.ops.relu(x * 0.7)
        return keras.ops.tanh(y + 0.25) if self.lifting else keras.ops.maximum(y, x)

    def moved(self, x: Any) -> Any:
        """Channels to the front and back, with something between that works on each alone."""
        rank = len(x.shape) - 1
        x = layers.Permute((rank, *range(1, rank)))(x)
        x = layers.Activation(self.activation())(x)
        return layers.Permute((*range(2, rank + 1), 1))(x)

    def reshaped(self, x: Any) -> Any:
        shape = x.shape[1:]
        x = layers.Reshape((-1, shape[-1]))(x)
        x = layers.Activation(self.activation())(x)
        return layers.Reshape(shape)(x)

    # ------------------------------------------------------------ shapes of whole nets

    def residual(self, x: Any) -> Any:
        merges = [
            layers.Add,
            layers.Multiply,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            layers.Subtract,
        ]
        branch = self.batch_norm(self.conv(self.conv(x), filters=x.shape[-1]))
        return self.pick(merges)()([branch, x])

    def branches(self, x: Any) -> Any:
        parts = [self.conv(x), self.batch_norm(self.conv(x)), *([x] if self.maybe() else [])]
        return layers.Concatenate()(parts)

    def partly_coupled(self, x: Any) -> Any:
        """A concatenation added to one wide layer: one group for each of its parts."""
        joined = layers.Concatenate()([self.conv(x), self.conv(x)])
        return layers.Add()([joined, self.conv(x, filters=joined.shape[-1])])

    def dense_block(self, x: Any) -> Any:
        for _ in range(2):
            x = layers.Concatenate()([x, self.conv(self.batch_norm(x), filters=self.width())])
        return x

    def squeeze_excite(self, x: Any) -> Any:
        channels, rank = x.shape[-1], len(x.shape)
        kinds = {
            3: layers.GlobalAveragePooling1D,
            4: layers.GlobalAveragePooling2D,
            5: layers.GlobalAveragePooling3D,
        }
        if self.maybe():
            gate = layers.Dense(self.width(), activation="relu")(kinds[rank](keepdims=True)(x))
            gate = layers.Dense(channels, activation="sigmoid")(gate)
        else:
            gate = layers.Dense(self.width(), activation="relu")(kinds[rank]()(x))
            gate = layers.Dense(channels, activation="hard_sigmoid")(gate)
            gate = layers.Reshape((*[1] * (rank - 2), channels))(gate)
        return layers.Multiply()([x, gate])

    def spatial_gate(self, x: Any) -> Any:
        gate = self.conv(x, filters=1, activation="sigmoid")
        return layers.Multiply()([x, gate])

    def softmax_inside(self, x: Any) -> Any:
        return layers.Softmax()(self.conv(x))

    def shared(self, x: Any) -> Any:
        """One layer called on two tensors."""
        same = self.conv(x, filters=x.shape[-1])
        kind = {3: layers.Conv1D, 4: layers.Conv2D, 5: layers.Conv3D}[len(x.shape)]
        layer = kind(self.width(), 3, padding="same", activation=self.activation())
        return layers.Add()([layer(x), layer(same)])

    def nested(self, x: Any) -> Any:
        """A model inside the model, sometimes called twice."""
        inner_input = keras.Input(x.shape[1:])
        y = self.batch_norm(self.conv(inner_input))
        y = layers.Add()([y, self.conv(y, filters=y.shape[-1])])
        inner: Any = keras.Model(inner_input, y)
        if self.maybe():
            inner = keras.Sequential([keras.Input(x.shape[1:]), inner, layers.ReLU()])
        first = inner(x, training=False) if self.maybe() else inner(x)
        return layers.Concatenate()([first, inner(x)]) if self.maybe() else first

    def recurrent(self, x: Any) -> Any:
        if len(x.shape) != 3:
            return self.conv(x)
        return layers.GRU(self.width(), return_sequences=True, unroll=True)(x)

    def head(self, x: Any) -> Any:
        """From a map to a vector, in one of the ways that nets do it."""
        rank = len(x.shape)
        pools = {
            3: [layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D],
            4: [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D],
            5: [layers.GlobalAveragePooling3D],
        }
        if self.maybe():
            x = self.pick(pools[rank])()(x)
        else:
            x = layers.Flatten()(x)
            x = self.batch_norm(x) if self.maybe() else x
        return self.dense(layers.AlphaDropout(0.2)(x))

    def generator(self, x: Any) -> Any:
        """A vector unfolded into a map or repeated along one, as decoders do."""
        if self.maybe(0.3):
            return self.conv(layers.RepeatVector(4)(self.dense(x)))
        channels = self.width()
        x = layers.Dense(16 * channels, activation=self.activation())(x)
        return self.conv(layers.Reshape((4, 4, channels))(x))

    BLOCKS: tuple[Callable[..., Any], ...] = (
        conv, conv, strided, transposed, depthwise, separable, grouped, dense, batch_norm,
        other_norm, prelu, plain, pool, resize, operations, moved, reshaped, residual, branches,
        partly_coupled, dense_block, squeeze_excite, spatial_gate, softmax_inside, shared,
        nested, recurrent,
    )  # fmt: skip


def random_model(seed: int, *, lifting: bool = False, blocks: int = 5) -> Any:
    """A random net of one or two inputs and one or two outputs."""
    keras.utils.set_random_seed(seed)
    graph = RandomGraph(seed, lifting=lifting)
    first, x = _entry(graph)
    inputs = [first]
    x = graph.conv(x)
    for _ in range(blocks):
        x = graph.pick(list(graph.BLOCKS))(graph, x)
    vector = graph.head(x)
    if graph.maybe(0.3):
        second = keras.Input((5,), name="second")
        inputs.append(second)
        merge = graph.pick([layers.Multiply, layers.Add, layers.Concatenate])
        vector = merge()([vector, layers.Dense(vector.shape[-1])(second)])
    outputs = [layers.Dense(3, name="scores")(vector)]
    if graph.maybe(0.3):
        outputs.append(layers.Activation("softmax")(layers.Dense(4)(vector)))
    if graph.maybe(0.2):
        decoded = graph.generator(vector)
        outputs.append(layers.Dense(1, activation="sigmoid")(decoded))
    model = keras.Model(inputs, outputs[0] if len(outputs) == 1 else outputs)
    _randomise(model, graph.rng)
    return model


def random_inputs(model: Any, seed: int, samples: int = 2) -> list[Any]:
    """Inputs for a net of `random_model`: token numbers for integers, else normal noise."""
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor in model.inputs:
        shape = (samples, *tensor.shape[1:])
        if "int" in tensor.dtype:
            arrays.append(rng.integers(0, 11, shape).astype(tensor.dtype))
        else:
            arrays.append(rng.normal(size=shape).astype(tensor.dtype))
    return arrays


def _entry(graph: RandomGraph) -> tuple[Any, Any]:
    kind = graph.pick(["image", "image", "image", "sequence", "tokens", "volume"])
    if kind == "tokens":
        tokens = keras.Input((8,), dtype="int32", name="first")
        return tokens, layers.Embedding(11, graph.width())(tokens)
    shapes = {"image": (8, 8, 3), "sequence": (8, 4), "volume": (4, 4, 4, 2)}
    tensor = keras.Input(shapes[kind], name="first")
    return tensor, layers.SpatialDropout1D(0.1)(tensor) if kind == "sequence" else tensor


def _randomise(model: Any, rng: np.random.Generator) -> None:
    """Give every vector of weights values of its own, positive where variances are."""
    for layer in _leaves(model):
        values = layer.get_weights()
        for index, weight in enumerate(layer.weights):
            if len(weight.shape) == 1:
                positive = "variance" in weight.path or "gamma" in weight.path
                noise = rng.uniform(0.5, 1.5, weight.shape)
                values[index] = noise if positive else noise - 1.0
        layer.set_weights(values)


def _leaves(model: Any) -> list[Any]:
    found = []
    for layer in model.layers:
        found.extend(_leaves(layer) if isinstance(layer, keras.Model) else [layer])
    return found
