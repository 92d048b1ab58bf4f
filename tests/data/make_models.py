"""Makes the tiny .tflite files beside it, which the agent's tests measure.

Run from the repository root: `.venv/bin/python tests/data/make_models.py`. The weights are
seeded, so that the files come out the same with the same TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent


def classifier() -> tf.keras.Model:
    """4x4x1 "image" -> four class probabilities; the brightest corner block wins."""
    image = tf.keras.Input((4, 4, 1), name="image")
    pooled = tf.keras.layers.AveragePooling2D(2)(image)
    flat = tf.keras.layers.Flatten()(pooled)
    probabilities = tf.keras.layers.Dense(4, activation="softmax", name="probabilities")(flat)
    model = tf.keras.Model(image, probabilities)
    model.layers[-1].set_weights([8.0 * np.eye(4, dtype=np.float32), np.zeros(4, np.float32)])
    return model


def two_inputs() -> tf.keras.Model:
    """Five int32 "tokens" of a vocabulary of 16 and two float "weights" -> one number."""
    tokens = tf.keras.Input((5,), name="tokens", dtype="int32")
    weights = tf.keras.Input((2,), name="weights")
    vectors = tf.keras.layers.Embedding(16, 2, name="vectors")(tokens)
    mean = tf.keras.layers.GlobalAveragePooling1D()(vectors)
    product = tf.keras.layers.Multiply()([mean, weights])
    score = tf.keras.layers.Dense(1, use_bias=False, name="score")(product)
    model = tf.keras.Model([tokens, weights], score)
    table = np.stack([np.arange(16), 2 * np.arange(16)], axis=1).astype(np.float32)
    model.get_layer("vectors").set_weights([table])
    model.get_layer("score").set_weights([np.ones((2, 1), np.float32)])
    return model


def convolution(size: int, channels: int) -> tf.keras.Model:
    """Two convolutions and a classifier of random weights; biases too, which the GPU needs."""
    tf.keras.utils.set_random_seed(0)
    bias = {"bias_initializer": "random_uniform"}
    image = tf.keras.Input((size, size, channels), name="image")
    x = tf.keras.layers.Conv2D(channels, 3, padding="same", activation="relu", **bias)(image)
    x = tf.keras.layers.Conv2D(channels, 3, padding="same", activation="relu", **bias)(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, tf.keras.layers.Dense(4, activation="softmax", **bias)(x))


def calibration() -> list[list[np.ndarray]]:
    """Uniform images in [0, 1), which is the range of the tests' inputs."""
    rng = np.random.default_rng(0)
    return [[rng.random((1, 4, 4, 1), dtype=np.float32)] for _ in range(200)]


def fixed_batch() -> bytes:
    """A graph whose RESHAPE holds its batch of one as a constant: no other batch fits."""

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 1), tf.float32)])
    def halves(image: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.reshape(image, (1, 2, 8)))

    concrete = halves.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], halves).convert()


def main() -> None:
    """Write every file."""
    (HERE / "fixed_batch.tflite").write_bytes(fixed_batch())
    model = classifier()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (HERE / "classifier_float.tflite").write_bytes(converter.convert())

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    (HERE / "classifier_int8.tflite").write_bytes(converter.convert())

    converter = tf.lite.TFLiteConverter.from_keras_model(two_inputs())
    (HERE / "two_inputs.tflite").write_bytes(converter.convert())

    for name, model in (("small", convolution(12, 8)), ("wide", convolution(96, 32))):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        (HERE / f"convolution_{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
