"""Pruning, clustering and QAT by TFMOT, judged by what is in the file that ships."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.compress import engine, recipes, zeros
from edgepack.compress.tfmot import process
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import PassSpec, Recipe, Transform, Variant

pytestmark = pytest.mark.tensorflow

Build = Callable[..., tuple[Variant, bytes]]


def _residual(keras: Any) -> Any:
    """Two convolutions around an Add, both normalized, and a dense head."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="r1")(layers.BatchNormalization(name="n1")(x))
    y = layers.Conv2D(8, 3, padding="same", name="body")(x)
    x = layers.Add(name="add")([x, layers.BatchNormalization(name="n2")(y)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="label")(x))


def _awkward(keras: Any) -> Any:
    """Layers that TFMOT does not know, between layers that it does."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    x = layers.Conv2D(8, 1, name="point")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Activation("elu", name="elu")(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="label")(x))


def _images() -> Dataset:
    """Three classes, told apart by their brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(192, dtype=np.int32) % 3
    pixels = rng.integers(0, 60, (192, 8, 8, 1), np.uint8)
    pixels += (labels * 90).astype(np.uint8)[:, None, None, None]
    return Dataset(
        x_train={"": pixels},
        y_train=labels,
        x_test={"": pixels},
        y_test=labels,
        transforms={"": Transform(scale=1 / 255)},
        task="classification",
    )


def _save(keras: Any, make: Callable[[Any], Any], path: Path) -> Path:
    """Seeded weights; half of the normalizations' scales are negative, as in trained nets."""
    model = make(keras)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale = np.where(np.arange(8) % 2, -1.0, 1.0) * rng.uniform(0.5, 1.5, 8)
            layer.set_weights([scale, np.zeros(8), rng.normal(0, 0.1, 8), np.ones(8)])
    model.save(path)
    return path


@pytest.fixture(scope="module")
def build(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`build(make, (pass, params), …)`; every net and its float reference are made once."""
    folder = tmp_path_factory.mktemp("tfmot")

    def call(make: Callable[[Any], Any], *steps: tuple[str, dict[str, Any]]) -> Any:
        model = folder / f"{make.__name__}.keras"
        if not model.exists():
            _save(keras, make, model)
        recipe = Recipe(name="r", passes=tuple(PassSpec(name=n, params=p) for n, p in steps))
        built = engine.build(
            str(model), [recipe], _images(), cache=folder / "cache", emit=lambda event: None
        )
        variant = built.variants[-1]
        return variant, built.files[variant.sha256].read_bytes()

    return call


def _kernels(content: bytes) -> dict[str, np.ndarray]:
    """The int8 kernels of a file, by the layer in their name."""
    return {t.name.split(";")[0].split("/")[1]: values for t, values in zeros.int8_weights(content)}


def _body(content: bytes) -> np.ndarray:
    """The second convolution's kernel: outputs, height, width, inputs."""
    return next(v for t, v in zeros.int8_weights(content) if t.shape == (8, 3, 3, 8))


def test_zeros_and_clusters_reach_the_file(build: Build) -> None:
    """The bar: after prune, distil, cluster and QAT both are still there, kernel by kernel."""
    variant, content = build(
        _residual,
        ("prune.magnitude", {"sparsity": 0.5, "steps": 4}),
        ("distill", {"epochs": 1}),
        ("cluster", {"clusters": 8, "steps": 4}),
        ("quantize.qat", {"steps": 12}),
    )
    kernels = _kernels(content)
    assert set(kernels) == {"stem", "body", "label"}
    for name, values in kernels.items():
        assert (values == 0).mean() >= 0.49, name
        assert 2 < len(np.unique(values)) <= 8, name
    assert [spec.dtype for spec in variant.signature.inputs + variant.signature.outputs] == [
        "int8",
        "int8",
    ]
    assert not any("More than 8 values" in warning for warning in variant.warnings)
    assert any("sparse encoding would grow the file" in warning for warning in variant.warnings)


def test_layers_that_tfmot_cannot_take_stay_float_and_are_named(build: Build) -> None:
    variant, content = build(
        _awkward, ("prune.magnitude", {"steps": 2}), ("quantize.qat", {"steps": 8})
    )
    notes = "\n".join(variant.warnings)
    assert "'norm': stays float" in notes
    assert "'elu': stays float" in notes
    assert "'depth': not pruned" in notes
    kernels = _kernels(content)
    assert {"stem", "point", "label"} <= set(kernels)
    assert (kernels["point"] == 0).mean() >= 0.49


@pytest.mark.parametrize("name", ["prune.magnitude", "cluster", "quantize.qat"])
def test_test_samples_are_never_trained_on(keras: Any, tmp_path: Path, name: str) -> None:
    model = _save(keras, _residual, tmp_path / "m.keras")
    data = dataclasses.replace(_images(), x_train={}, y_train=None)
    recipe = Recipe(name="r", passes=(PassSpec(name=name),))
    with pytest.raises(EdgepackError, match="no training samples") as caught:
        engine.build(str(model), [recipe], data, cache=tmp_path / "cache", emit=lambda event: None)
    assert caught.value.code == "EP206"


def test_a_threshold_a_pattern_and_blocks(build: Build) -> None:
    _, content = build(
        _residual,
        ("prune.magnitude", {"threshold": 0.3, "schedule": "constant", "steps": 2}),
        ("quantize.int8", {}),
    )
    # Weights are drawn from N(0, 0.4): 55% of them are within ±0.3.
    assert (_body(content) == 0).mean() == pytest.approx(0.55, abs=0.08)
    variant, content = build(
        _residual, ("prune.magnitude", {"pattern": "2:4", "steps": 2}), ("quantize.int8", {})
    )
    fours = _body(content).reshape(-1, 4)
    assert ((fours == 0).sum(axis=1) >= 2).all()
    variant, _ = build(
        _residual, ("prune.magnitude", {"block": [2, 1], "steps": 2}), ("convert.float", {})
    )
    assert any("'stem', 'body': not pruned, blocks need" in note for note in variant.warnings)


@pytest.mark.parametrize(
    "params",
    [
        {"sparsity": 0.5, "threshold": 0.1},
        {"pattern": "4:2"},
        {"threshold": 0.1, "block": [2, 2]},
        {"sparsity": 1.5},
    ],
)
def test_parameters_that_contradict_each_other(params: dict[str, Any]) -> None:
    with pytest.raises(EdgepackError) as caught:
        recipes.canonical(
            Recipe(name="r", passes=(PassSpec(name="prune.magnitude", params=params),))
        )
    assert caught.value.code == "EP105"


def test_the_worker_is_stopped_at_its_limit_and_its_last_words_are_told(build: Build) -> None:
    with pytest.raises(EdgepackError, match="limit of 1 s") as caught:
        build(_residual, ("cluster", {"time_limit_s": 1}), ("convert.float", {}))
    assert caught.value.code == "EP207"


def test_the_worker_ends_with_its_host(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c",
            "import threading, time; from edgepack.compress.tfmot import worker;"
            "threading.Thread(target=worker._end_with_host, daemon=True).start(); time.sleep(60)"],
            stdin=subprocess.PIPE)
        print(child.pid, flush=True)
        time.sleep(60)
        """
    )
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    child = int(host.stdout.readline())
    time.sleep(0.2)
    host.send_signal(signal.SIGKILL)
    host.wait()
    deadline = time.monotonic() + 30
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody waited for does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_last_words_of_a_worker_that_dies() -> None:
    assert process._failure(1, "ValueError: no").code == "EP207"
    assert "ValueError: no" in process._failure(1, "ValueError: no").what
    assert "SIGKILL" in process._failure(-9, "x").what
    assert process._failure(1, "x.RefusedError: it cannot").code == "EP206"


def test_sparse_encoding_counts_values_indices_and_row_ends() -> None:
    rows = np.zeros((4, 16), np.float32)
    rows[0, :3] = 1
    assert zeros.sparse_bytes(rows, element=1) == 3 * 2 + 5
    assert zeros.sparse_bytes(np.ones((4, 300)), element=4) == 1200 * 6 + 5 * 2
