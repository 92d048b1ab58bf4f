"""The samples of examples/plugins, from a wheel, used for real; and broken ones beside them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack import added
from edgepack.errors import EdgepackError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "examples" / "plugins"
MODEL = ROOT / "tests" / "data" / "classifier_int8.tflite"
Call = Callable[..., "subprocess.CompletedProcess[str]"]

BROKEN = {
    "passes": ("ghost", "no_such_module:Ghost"),
    "exporters": ("sulky", "broken_plugins.sulky:export"),
    "quality": ("half", "broken_plugins.half:metric"),
    "probes": ("modern", "broken_plugins.modern"),
    "transports": ("half", "broken_plugins.half:connect"),
    "profiles": ("odd", "broken_plugins.half:ODD"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, built into a wheel and installed, and a package of broken plug-ins."""
    folder = tmp_path_factory.mktemp("plugins")
    pip = [sys.executable, "-m", "pip", "-q", "--no-input"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, SAMPLES]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    install = ["install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([*pip, *install], check=True)
    _write_broken(target)
    return target


def _write_broken(target: Path) -> None:
    package = target / "broken_plugins"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sulky.py").write_text("import sys\nsys.exit('I will not')\n")
    (package / "modern.py").write_text("match 1:\n    case 1: pass\n")
    (package / "half.py").write_text("ODD = 3\ndef state(root): return {}\n")
    info = target / "broken_plugins-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugins\nVersion: 0.1\n")
    groups = [f"[edgepack.{group}]\n{n} = {value}\n" for group, (n, value) in BROKEN.items()]
    taken = "[edgepack.passes]\nquantize.int8 = broken_plugins.half:ODD\n"
    (info / "entry_points.txt").write_text("".join(groups).replace("[edgepack.passes]\n", taken, 1))


@pytest.fixture(scope="module")
def edgepack(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The real command in a process of its own, with the plug-ins installed."""
    home, tools = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("bin")
    docker = tools / "docker"
    docker.write_text('#!/bin/sh\n[ "$1 $2 $3" = "exec -i box" ] || exit 9\nshift 3\nexec "$@"\n')
    docker.chmod(0o755)
    environment = {
        **os.environ,
        "EDGEPACK_HOME": str(home),
        "EDGEPACK_AGENT_HOME": str(home / "agent"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
    }
    environment.pop("EDGEPACK_STORE", None)

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgepack.cli.main", *map(str, words)]
        return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)

    return call


@pytest.fixture(scope="module")
def listed(edgepack: Call) -> dict[tuple[str, str, str], Any]:
    rows = json.loads(edgepack("plugin", "ls", "--json").stdout)["plugins"]
    return {(r["group"].removeprefix("edgepack."), r["name"], r["package"]): r for r in rows}


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("passes", "round.weights"),
        ("exporters", "prometheus"),
        ("transports", "container"),
        ("datasets", "csv"),
        ("profiles", "mini-pc"),
        ("quality", "macro_f1"),
        ("probes", "uptime"),
    ],
)
def test_every_kind_is_there(listed: dict[Any, Any], group: str, name: str) -> None:
    assert listed[group, name, "edgepack-samples"]["error"] is None


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ("passes", "no_such_module"),
        ("exporters", "SystemExit: I will not"),
        ("quality", "AttributeError"),
        ("transports", "AttributeError"),
        ("probes", "SyntaxError"),
        ("profiles", "not a dict"),
    ],
)
def test_a_broken_one_is_unavailable_with_its_error(
    listed: dict[Any, Any], group: str, why: str
) -> None:
    row = listed[group, BROKEN[group][0], "broken-plugins"]
    assert why in row["error"] and not row["available"]


def test_a_name_of_edgepacks_own_is_not_taken_over(listed: dict[Any, Any]) -> None:
    assert listed["passes", "quantize.int8", "edgepack"]["error"] is None
    assert "taken by edgepack" in listed["passes", "quantize.int8", "broken-plugins"]["error"]


def test_broken_ones_take_nothing_down_and_say_so_when_used(edgepack: Call, tmp_path: Path) -> None:
    for words in (["recipe", "ls"], ["profile", "ls"], ["doctor"], ["device", "ls"]):
        assert edgepack(*words).returncode == 0
    assert "ghost (broken-plugins)" in edgepack("doctor").stdout
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[pass]]\nname = "ghost"\n')
    done = edgepack("recipe", "validate", recipe)
    assert done.returncode == 2 and "EP109" in done.stderr and "no_such_module" in done.stderr
    assert "EP109" in edgepack("profile", "show", "odd").stderr


def test_the_pass_is_a_word_and_the_profile_a_name(edgepack: Call) -> None:
    assert "round" in edgepack("recipe", "ls").stdout.split()
    assert "bits = 5" in edgepack("recipe", "show", "round5-int8").stdout
    shown = edgepack("profile", "show", "mini-pc").stdout
    assert "Fanless mini PC" in shown and "uptime" in shown


def test_metric_probe_transport_profile_and_exporter_in_one_run(
    edgepack: Call, tmp_path: Path
) -> None:
    """The device is "a container" (its docker starts the command here)."""
    rng = np.random.default_rng(1)
    data = tmp_path / "d.npz"
    y = rng.integers(0, 4, 24)
    np.savez(data, x_test=rng.random((24, 4, 4, 1), dtype=np.float32), y_test=y)
    add = ["device", "add", "box", "--transport", "container", "--profile", "mini-pc"]
    done = edgepack(*add, "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    assert "container:box" in edgepack("device", "ls").stdout
    run = ["run", MODEL, "--data", data, "-d", "box", "--quality", "macro_f1"]
    done = edgepack(*run, "--max-seconds", "0.5", "--json")
    (measured,) = json.loads(done.stdout)["measurements"]
    assert measured["status"] == "ok", measured["error"]
    assert measured["quality"]["metric"] == "macro_f1"
    assert 0 <= measured["quality"]["value"] <= 1
    assert measured["environment"]["uptime_s"] > 0
    out = tmp_path / "runs.prom"
    edgepack("runs", "export", "latest", "--format", "prometheus", "-o", out)
    assert 'device="box"' in out.read_text()


def test_a_metric_that_there_is_not_is_refused_before_anything_runs(edgepack: Call) -> None:
    done = edgepack("run", MODEL, "--quality", "macro_f2")
    assert done.returncode == 2 and "macro_f1" in done.stderr
    assert "EP109" in edgepack("run", MODEL, "--quality", "half").stderr


# ---------------------------------------------------------------- the samples themselves


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.syspath_prepend(str(SAMPLES))
    yield lambda name: importlib.import_module(f"edgepack_samples.{name}")


def test_macro_f1_by_hand(samples: Callable[[str], Any]) -> None:
    outputs = {"scores": np.eye(2)[[0, 0, 1, 1]]}
    value = samples("macro_f1").macro_f1(outputs, np.array([0, 1, 1, 1]), None)
    assert value == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_probe_that_lacks_a_function_cannot_be_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text("def state(root): return {}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EdgepackError, match="does not define environment, flags"):
        added.source(EntryPoint(name="lacking", value="lacking", group=added.GROUP))


def test_rounding_keeps_that_many_bits(samples: Callable[[str], Any]) -> None:
    weights = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    made = samples("round_weights").rounded(weights, 6)
    assert made.dtype == np.float32
    assert np.max(np.abs(made / weights - 1)) <= 2.0**-6
    assert len(set(np.frexp(np.abs(made))[0])) <= 33


def test_rows_of_csv_are_a_dataset(samples: Callable[[str], Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("".join(f"{i}.5,1,{i % 2}\n" for i in range(10)))
    made = samples("csv_rows").load(str(file))
    assert made["x_test"].shape == (2, 2) and made["y_train"].tolist() == [1, 0, 1, 0, 0, 1, 0, 1]


def test_each_sample_is_one_short_file() -> None:
    for file in (SAMPLES / "edgepack_samples").glob("*.py"):
        assert len(file.read_text().splitlines()) < 60, file.name
