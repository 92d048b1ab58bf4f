"""`edgepack search`, start to end, on a net that takes seconds to train."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from edgepack import package as packages
from edgepack.compress.flatgraph import WEIGHTED, read
from edgepack.compress.native import tensorflow
from edgepack.searching.document import schema
from edgepack.searching.study import Study

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data that it has learnt, and budgets."""
    tensorflow()
    import keras

    folder = tmp_path_factory.mktemp("search")
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    images = rng.normal(size=(500, 16, 16, 1)).astype("float32") * 0.3
    for number in range(4):
        images[labels == number, 4 * number : 4 * number + 4] += 0.8
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(32, 3, strides=2, activation="relu", padding="same"),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(images[:400], labels[:400], epochs=2, batch_size=32, verbose=0)
    net.save(folder / "net.keras")
    np.savez(
        folder / "d.npz",
        x_train=images[:400], y_train=labels[:400], x_test=images[400:], y_test=labels[400:],
    )  # fmt: skip
    (folder / "met.toml").write_text('[budget."*"]\nquality_drop = 0.1\nbytes = 60_000\n')
    (folder / "never.toml").write_text("[budget.local]\nbytes = 100\nlatency_p90_ms = 1000.0\n")
    return folder


@pytest.fixture(autouse=True)
def home(place, monkeypatch):
    """One home for all: what one test built, the others find in the cache."""
    monkeypatch.setenv("EDGEPACK_HOME", str(place / "home"))


def edgepack(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def search(place, *arguments):
    done = edgepack(
        "search", place / "net.keras", "--data", place / "d.npz", "--epochs", 1, 1,
        "--max-seconds", 1, "--json", "-q", *arguments,
    )  # fmt: skip
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema())
    return done, document


@pytest.fixture(scope="module")
def found(place):
    """A search that finds: two schemes of the source, cuts, and one trained network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPACK_HOME", str(place / "home"))
        return search(
            place, "--budget", place / "met.toml", "--trials", 5, "--scheme", "float",
            "--scheme", "int8", "-o", place / "best",
        )  # fmt: skip


def test_the_best_meets_the_budget_and_comes_as_a_package(place, found):
    done, document = found
    assert done.returncode == 0, done.stderr
    assert document["status"] == "found"
    local = document["devices"]["local"]
    best = local["best"]
    assert best["fits"]
    assert best["bytes"] <= 60_000
    assert best["latency_us"] > 0
    fitting = [one["latency_us"] for one in local["finalists"] if one["fits"]]
    assert best["latency_us"] <= 1.01 * min(fitting)
    package = packages.read(place / "best" / "local")
    assert best["variant"] in [variant.name for variant in package.variants]


def test_every_trial_was_measured_or_says_why(found):
    _, document = found
    trials = document["trials"]
    assert [one["trial"] for one in trials] == list(range(5))
    assert [one["stage"] for one in trials] == ["source", "source", "shot", "shot", "shot"]
    assert all(one["latency_us"].get("local", 0) > 0 for one in trials)
    assert any(one["choice"]["percent"] < 100 for one in trials)


def test_a_trials_recipe_builds_the_same_file(place, found, tmp_path, monkeypatch):
    _, document = found
    trial = next(one for one in document["trials"] if one["stage"] == "shot")
    shown = edgepack("recipe", "show", f"{document['search_id']}/{trial['trial']}")
    assert shown.returncode == 0, shown.stderr
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))  # an empty cache
    file = tmp_path / "again.toml"
    file.write_text(shown.stdout)
    built = edgepack(
        "build", place / "net.keras", "--data", place / "d.npz", "-r", file, "-o",
        tmp_path / "package", "-q",
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    variants = packages.read(tmp_path / "package").variants
    assert trial["sha256"] in [variant.sha256 for variant in variants]


def test_int8_first_leaves_the_first_layer_in_float(place, tmp_path):
    _, document = search(
        place, "--no-cut", "--scheme", "int8-first", "--trials", 1, "--budget", place / "met.toml"
    )
    (trial,) = document["trials"]
    assert trial["choice"]["scheme"] == "int8-first"
    file = tmp_path / "first.toml"
    file.write_text(edgepack("recipe", "show", f"{document['search_id']}/0").stdout)
    data = ("--data", place / "d.npz", "-o", tmp_path / "package", "-q")
    built = edgepack("build", place / "net.keras", "-r", file, *data)
    assert built.returncode == 0, built.stderr
    variant = packages.read(tmp_path / "package").variants[-1]
    graph = read((tmp_path / "package" / f"{variant.name}.tflite").read_bytes())
    weights = [graph.tensors[op.inputs[1]].dtype for op in graph.ops if op.kind in WEIGHTED]
    assert weights == ["float32", *["int8"] * (len(weights) - 1)]
    assert len(weights) > 1


def test_the_finalists_are_an_ordinary_run(found):
    _, document = found
    [run] = document["runs"]
    shown = edgepack("runs", "show", run, "--json")
    variants = {one["name"] for one in json.loads(shown.stdout)["variants"]}
    assert {one["variant"] for one in document["devices"]["local"]["finalists"]} == variants


def test_a_search_goes_on_where_it_ended(found):
    _, before = found
    done = edgepack("search", "--resume", before["search_id"], "--trials", 6, "--json", "-q")
    after = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert after["search_id"] == before["search_id"]
    assert after["trials"][:5] == before["trials"]
    assert len(after["trials"]) == 6


def test_what_cannot_be_met_says_which_limit_binds(place, tmp_path):
    """From Python, with a model and data in memory."""
    import keras

    import edgepack as library

    with np.load(place / "d.npz") as arrays:
        data = dict(arrays)
    found = library.search(
        keras.models.load_model(place / "net.keras"), data=data, budget=place / "never.toml",
        schemes=["int8", "dynamic"], cut=False, epochs=(1, 1), max_seconds=1,
    )  # fmt: skip
    document = json.loads(json.dumps(found.document()))
    jsonschema.validate(document, schema())
    assert document["status"] == "infeasible" and found.best == {} and found.lost == {}
    answer = found.answers["local"]
    [binding] = answer.binding
    assert (binding.limit, binding.bound, binding.others) == ("local.local.bytes", 100, True)
    smallest = min(one.bytes for one in answer.finals)
    assert binding.value == smallest
    assert binding.excess == pytest.approx(smallest / 100 - 1)
    page = found.save_html(tmp_path / "search.html").read_text()
    assert "This limit binds" in page and found.search_id in page
    assert "nothing meets the budget" in found._repr_html_()
    assert [one.at_s for one in found.trials] == sorted(one.at_s for one in found.trials)
    assert found.trials[0].at_s > 0
    kept = Study.open(found.search_id).request
    assert Path(kept.model).is_file() and Path(str(kept.data)).is_file(), "it can be resumed"


def test_a_device_that_does_not_answer_is_not_a_result(place):
    from edgepack import config
    from edgepack.model import Device
    from edgepack.registry import Registry

    key = "ssh-ed25519 " + "A" * 68
    gone = Device(
        name="gone", profile="desktop", host="127.0.0.1", port=9, user="x", host_keys=(key,)
    )
    Registry(config.devices_file()).add(gone)
    done = edgepack(
        "search", place / "net.keras", "--data", place / "d.npz", "-d", "gone", "-q", "--no-cut",
    )  # fmt: skip
    assert done.returncode == 4
    assert "EP401" in done.stderr


def test_a_worker_makes_what_is_made_here_and_nothing_is_trained_twice(place, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from edgepack import data
    from edgepack.compress import sources
    from edgepack.compress.engine import Builder
    from edgepack.compress.structured import layout
    from edgepack.fleet.engine import Engine
    from edgepack.searching.foundry import Foundry
    from edgepack.searching.values import Choice, Request
    from edgepack.searching.workers import Workers

    told = []
    builder = Builder(
        sources.identify(str(place / "net.keras")),
        data.load(str(place / "d.npz")),
        cache=tmp_path / "builds",
        emit=lambda event: told.append(event.message),
    )
    widths: dict[str, int] = {}
    foundry = Foundry(builder, seed=0, short=1, widths=lambda choice: widths)
    widths |= dict.fromkeys(list(layout(foundry.model).groups)[:1], 16)
    request = Request(
        model=str(place / "net.keras"), data=None, targets=(), budgets=(), epochs=(1, 1)
    )
    choices = [Choice(percent=50, epochs=epochs, scheme="int8") for epochs in (1, 2)]
    with ThreadPoolExecutor(1) as pool:
        making = Workers(Engine(executor=pool), foundry, builder, request, lambda choice: widths)
        made = [
            each
            for number, choice in enumerate(choices)  # the second goes on from the first
            for _, _, each in making.made([(number, choice)], lambda needed: False)
        ]
    for candidate in made:
        variant, _ = builder.obtain(candidate.recipe)
        assert variant.sha256 == candidate.sha256
    assert "already done: prune.structured, distill, distill" in told
    assert not any(message.startswith("distill") for message in told), "trained here"


def test_a_search_by_data_that_stay_on_the_device(place):
    """The device calibrates and judges. (`search` names other data first: the last one counts.)"""
    done, document = search(
        place, "--data", f"device:{place / 'd.npz'}", "--calibrate-on-device",
        "--budget", place / "met.toml", "--scheme", "float", "--scheme", "int8",
        "-o", place / "private",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = {one["choice"]["scheme"]: one for one in document["trials"]}
    assert set(trials) == {"float", "int8"}, "nothing can be cut without data to train on"
    [run] = document["runs"]
    shown = json.loads(edgepack("runs", "show", run, "--json").stdout)
    measured = {one["variant"]: one for one in shown["measurements"]}
    assert all("device-data" in one["flags"] for one in measured.values())
    accuracy = measured["float"]["quality"]["value"]
    assert accuracy > 0.5, "by the labels on the device"
    assert trials["float"]["quality"] == accuracy
    assert trials["int8"]["loss"] == pytest.approx(accuracy - trials["int8"]["quality"])
    variants = packages.read(place / "private" / "local").variants
    int8 = next(one for one in variants if one.sha256 == trials["int8"]["sha256"])
    assert [(one.device, one.samples) for one in int8.lineage[-1].calibration] == [("local", 200)]


def test_what_a_search_on_devices_cannot_do_is_refused(place):
    private = f"device:{place / 'd.npz'}"
    for options in (
        ["--data", private],
        ["--data", place / "d.npz", "--calibrate-on-device"],
        ["--data", private, "--calibrate-on-device", "--scheme", "int8-mse"],
    ):
        done = edgepack("search", place / "net.keras", *options)
        assert done.returncode == 2 and "EP105" in done.stderr, done.stderr
