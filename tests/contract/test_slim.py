"""Recipes with `slimNN`: smaller files, the profile's multiples, measured targets, resuming."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepack import config, inloop
from edgepack.compress import engine, recipes
from edgepack.compress.native import tensorflow
from edgepack.compress.site import Site
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import Event, PassSpec, Recipe
from edgepack.plan import Target
from edgepack.registry import Registry

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A residual net of 16x16 images, untrained: what is tested here is its shape."""
    tensorflow()
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((16, 16, 1), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same")(image)))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(48, 3, padding="same")(x)))
    y = layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same")(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    net = keras.Model(image, layers.Dense(4, activation="softmax", name="label")(x))
    path = tmp_path_factory.mktemp("model") / "net.keras"
    net.save(path)
    return str(path)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(160, 16, 16, 1)).astype("float32")
    labels = rng.integers(0, 4, 160)
    return Dataset(
        x_train={"": images[:128]},
        y_train=labels[:128],
        x_test={"": images[128:]},
        y_test=labels[128:],
        task="classification",
    )


def build(model, dataset, cache, *wanted, site=None, events=None):
    chosen = [recipes.parse(one) if isinstance(one, str) else one for one in wanted]
    emit = (events if events is not None else list[Event]()).append
    return engine.build(model, chosen, dataset, cache=cache / "builds", site=site, emit=emit)


@pytest.fixture(scope="module")
def with_float(model, dataset, tmp_path_factory):
    """A cache that holds the float reference, which every build makes and no test is about."""
    folder = tmp_path_factory.mktemp("float")
    build(model, dataset, folder)
    return folder


@pytest.fixture
def cache(with_float, tmp_path):
    """A cache of the test's own."""
    return shutil.copytree(with_float, tmp_path / "cache")


def slim(**params):
    spec = PassSpec(name="prune.structured", params=params)
    return Recipe(name="mine", passes=(spec, PassSpec(name=recipes.FLOAT)))


def channels(variant):
    """The "channels A -> B" of the variant's report."""
    text = next(note for note in variant.lineage[0].facts if note.startswith("channels"))
    before, after = text.split(",")[0].removeprefix("channels ").split(" -> ")
    return int(before), int(after)


def test_a_slim_variant_is_really_smaller(model, dataset, cache):
    whole, half = build(model, dataset, cache, "slim50").variants
    assert half.macs is not None
    assert whole.macs is not None
    assert half.params is not None
    assert whole.params is not None
    assert half.macs < 0.5 * whole.macs
    assert half.params < 0.5 * whole.params
    assert half.bytes < 0.6 * whole.bytes
    cut = half.lineage[0]
    assert cut.macs == half.macs
    assert cut.quality is not None
    assert 0 <= cut.quality <= 1
    assert [report.name for report in half.lineage] == ["prune.structured", "convert.float"]


def test_outputs_are_called_as_the_source_calls_them(tmp_path):
    """A nested model at the end is inlined by the cut; going on from there changes no name."""
    import keras

    layers = keras.layers
    last = [keras.Input((32,)), layers.ReLU(), layers.Dense(3, name="logits")]
    image = keras.Input((8, 8, 1), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(32, 3)(image))
    path = tmp_path / "nested.keras"
    keras.Model(image, keras.Sequential(last, name="head")(x)).save(path)
    for recipe in ("slim50", "slim50-fp16"):
        for variant in build(str(path), None, tmp_path, recipe).variants:
            assert [spec.name for spec in variant.signature.outputs] == ["head"]


def test_channel_counts_are_the_profiles_multiples_unless_the_recipe_says(model, dataset, cache):
    sixteen = Site(profile={"channel_multiple": 16})
    by_profile = build(model, dataset, cache, slim(ratio=0.4), site=sixteen).variants[1]
    own = build(model, dataset, cache, slim(ratio=0.4, multiple=1), site=sixteen).variants[1]
    assert channels(by_profile)[1] % 16 == 0
    assert by_profile.recipe.passes[0].params["multiple"] == 16
    before, after = channels(own)
    assert after == pytest.approx(0.6 * before, abs=1)


def test_a_latency_target_is_met_and_no_more_is_cut_than_that_takes(model, dataset, cache):
    """By a clock that is not the machine's: a file takes as long as it has bytes."""

    def took(content: bytes) -> float:
        return len(content) / 1e9

    site = Site(profile={"channel_multiple": 8}, device="board", measure=took)
    plain = build(model, dataset, cache, "float")
    wanted = 0.5 * took(plain.files[plain.variants[0].sha256].read_bytes())
    made = build(model, dataset, cache, slim(latency_ms=1e3 * wanted, multiple=1), site=site)
    variant = made.variants[1]
    assert channels(variant)[1] < channels(variant)[0]
    # The files that were tried on the way bear shorter names inside.
    assert 0.8 * wanted < took(made.files[variant.sha256].read_bytes()) < 1.05 * wanted


def test_what_a_latency_target_is_held_against_is_measured_on_the_device(
    model, dataset, cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    local = Registry(config.devices_file()).get("local")
    target = Target(device=local, profile=config.load_profile(local.profile))
    site = inloop.site([target], emit=lambda event: None)
    assert site.measure is not None
    plain = build(model, dataset, cache, "float")
    assert 1e-6 < site.measure(plain.files[plain.variants[0].sha256].read_bytes()) < 60


def test_a_measured_cut_belongs_to_the_file_that_was_measured(model, dataset, cache):
    """What fits as int8 weights does not as float: the cut for one is not the other's."""

    def took(content: bytes) -> float:
        return len(content) / 1e9

    site = Site(profile={"channel_multiple": 8}, device="board", measure=took)
    dynamic = recipes.parse("dynamic")
    small = build(model, dataset, cache, dynamic).variants[1].bytes
    cut = slim(latency_ms=1.1 * small / 1e6, multiple=1)
    light = replace(cut, name="light", passes=(cut.passes[0], *dynamic.passes))
    events: list[Event] = []
    _, whole, lean = build(model, dataset, cache, light, cut, site=site, events=events).variants
    assert not any(event.message.startswith("already done") for event in events)
    assert channels(whole)[1] == channels(whole)[0]
    assert channels(lean)[1] < channels(lean)[0]
    assert lean.bytes < 1.2 * small


def test_a_latency_target_needs_a_device(model, dataset, tmp_path):
    with pytest.raises(EdgepackError) as caught:
        build(model, dataset, tmp_path, slim(latency_ms=1.0))
    assert caught.value.code == "EP206"
    assert "-d" in caught.value.hint


KILLED = """
import os, signal, sys
import numpy as np
from edgepack.compress import engine, recipes
from edgepack.data import Dataset
arrays = np.load(sys.argv[2])
dataset = Dataset(x_train={"": arrays["xt"]}, y_train=arrays["yt"], x_test={"": arrays["x"]},
                  y_test=arrays["y"], task="classification")
def emit(event):
    if event.message == "distill":  # the second pass begins: the first is finished
        os.kill(os.getpid(), signal.SIGKILL)
from pathlib import Path
engine.build(sys.argv[1], [recipes.parse("slim50-distill1-int8")], dataset,
             cache=Path(sys.argv[3]) / "builds", emit=emit)
"""


def test_a_killed_build_goes_on_from_its_last_finished_pass(model, dataset, cache, tmp_path):
    file = tmp_path / "data.npz"
    x_train, x_test = dataset.x_train[""], dataset.x_test[""]
    np.savez(file, xt=x_train, yt=dataset.y_train, x=x_test, y=dataset.y_test)
    whole = shutil.copytree(cache, tmp_path / "whole")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, model, str(file), str(cache)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    events: list[Event] = []
    recipe = "slim50-distill1-int8"
    resumed = build(model, dataset, cache, recipe, events=events).variants[1]
    assert "already done: prune.structured" in [event.message for event in events]
    alone = build(model, dataset, whole, recipe).variants[1]
    assert resumed.sha256 == alone.sha256
    assert [r.name for r in resumed.lineage] == [r.name for r in alone.lineage]


def test_recipes_that_begin_alike_share_their_passes(model, dataset, cache):
    events: list[Event] = []
    build(model, dataset, cache, "slim50", "slim50-int8", events=events)
    assert "already done: prune.structured" in [event.message for event in events]


def test_another_seed_is_another_build(model, dataset, cache, tmp_path):
    fresh = shutil.copytree(cache, tmp_path / "fresh")
    random = slim(ratio=0.5, importance="random", multiple=1)
    first = build(model, dataset, cache, random).variants[1]
    other = build(model, dataset, cache, replace(random, seed=1)).variants[1]
    again = build(model, dataset, fresh, random).variants[1]
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
