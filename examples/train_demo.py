"""Train the demo's model and cut its dataset.

    python examples/train_demo.py [--source FOLDER] [--epochs N]

Reads Fashion-MNIST's four .gz files (Debian: the package dataset-fashion-mnist, MIT licence)
and writes, beside this script:

- demo/fashion_mnist_resnet.keras: a residual net of about 300 000 parameters, without
  optimizer state; input 28x28x1 float32 in 0..1, output 10 class probabilities;
- demo/fashion_mnist.npz: 1 000 training and 200 test images of each class as raw uint8, with
  the scale that brings them to 0..1. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
CLASSES += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEMO = Path(__file__).parent / "demo"
SEED = 7


def read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped idx file: two zero bytes, type 8 (uint8), rank, sizes, data."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(source: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 28, 28, 1] and labels [n] of "train" or "t10k"."""
    images = read_idx(source / f"{name}-images-idx3-ubyte.gz")
    return images[..., np.newaxis], read_idx(source / f"{name}-labels-idx1-ubyte.gz")


def balanced(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of `per_class` random samples of every class, in random order."""
    picks = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in range(10)]
    return rng.permutation(np.concatenate(picks))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz with fixed timestamps, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue())


def build_model():
    """A small residual net: a strided stem, three stages of one residual block each, a softmax."""
    import keras
    from keras import layers

    def conv_bn(x, filters: int, size: int, strides: int = 1):
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def block(x, filters: int, strides: int):
        shortcut = x if strides == 1 else conv_bn(x, filters, 1, strides)
        x = layers.ReLU()(conv_bn(x, filters, 3, strides))
        return layers.ReLU()(layers.Add()([conv_bn(x, filters, 3), shortcut]))

    image = keras.Input((28, 28, 1), name="image")
    x = layers.ReLU()(conv_bn(image, 24, 3, 1))
    for filters in (48, 64, 112):
        x = block(x, filters, 2)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="label")(x))


def train(model, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """Adam with a cosine schedule on images shifted by up to two pixels and mirrored."""
    import keras
    import tensorflow as tf

    batch = 128
    steps = epochs * (len(images) // batch)

    def augment(image, label):
        image = tf.image.random_flip_left_right(tf.cast(image, tf.float32) / 255.0, seed=SEED)
        padded = tf.pad(image, [[2, 2], [2, 2], [0, 0]])
        return tf.image.random_crop(padded, (28, 28, 1), seed=SEED), label

    data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.shuffle(len(images), seed=SEED).map(augment).batch(batch, drop_remainder=True)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    model.fit(data, epochs=epochs, verbose=2)


def main() -> None:
    """Write the dataset first (seconds), then train and write the model (minutes)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    x_train, y_train = read_split(options.source, "train")
    x_test, y_test = read_split(options.source, "t10k")
    rng = np.random.default_rng(SEED)
    train_cut, test_cut = balanced(y_train, 1000, rng), balanced(y_test, 200, rng)
    DEMO.mkdir(exist_ok=True)
    write_npz(
        DEMO / "fashion_mnist.npz",
        {
            "x_train": x_train[train_cut],
            "y_train": y_train[train_cut],
            "x_test": x_test[test_cut],
            "y_test": y_test[test_cut],
            "scale": np.float32(1 / 255),
            "offset": np.float32(0),
            "classes": np.array(CLASSES),
        },
    )

    import keras

    keras.utils.set_random_seed(SEED)
    model = build_model()
    print(f"{model.count_params()} parameters")
    train(model, x_train, y_train, options.epochs)
    scores = model.evaluate(x_test.astype(np.float32) / 255, y_test, verbose=0)
    print(f"accuracy on the 10 000 test images: {scores[1]:.4f}")
    # Without compile() the optimizer's state would stay in the file: rebuild and copy.
    clean = build_model()
    clean.set_weights(model.get_weights())
    clean.save(DEMO / "fashion_mnist_resnet.keras")


if __name__ == "__main__":
    main()
