"""Where a package comes from: its manifest, its bill of materials, and building it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepack import package
from edgepack.cli import main as entry
from edgepack.package import signing

from .packs import write_package
from .test_private import open_to_others


def test_the_manifest_says_what_was_built_from_what_and_with_what(pack: Path) -> None:
    document = json.loads((pack / "manifest.json").read_text())
    assert document["source"] == {"name": "corners.keras", "sha256": "5" * 64}
    assert len(document["data_sha256"]) == 64
    assert document["tools"]["tensorflow"] == "2.21.0"
    for variant in document["variants"]:
        assert variant["recipe"]["seed"] == 3
        assert variant["recipe"]["passes"]
        assert document["files"][f"{variant['name']}.tflite"] == variant["sha256"]
    assert set(document["files"]) == {"float.tflite", "int8.tflite", "eval.npz", "bom.cdx.json"}


def test_the_bill_of_materials_is_cyclonedx(pack: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (pack / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {each["name"]: each for each in json.loads(text)["components"]}
    manifest = json.loads((pack / "manifest.json").read_text())
    for name in ("float.tflite", "int8.tflite", "eval.npz"):
        assert found[name]["hashes"][0]["content"] == manifest["files"][name]
    assert found["corners.keras"]["hashes"][0]["content"] == "5" * 64


def test_show_prints_where_it_comes_from(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry._run(["package", "show", str(pack)]) == 0
    shown = capsys.readouterr().out
    for word in ("5" * 64, "tensorflow 2.21.0", "seed 3", "quantize.int8", "not signed"):
        assert word in shown.replace("\n", "")


def test_the_same_variants_and_data_give_the_same_bytes(tmp_path: Path, keys: Path) -> None:
    write_package(tmp_path / "a")
    write_package(tmp_path / "b")
    contents = [{f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in "ab"]
    assert contents[0] == contents[1]
    signing.sign(tmp_path / "a", keys / "release", counter=1)
    signed = json.loads((tmp_path / "a" / package.MANIFEST).read_text())
    assert {**signed, "release": None} == json.loads((tmp_path / "b" / "manifest.json").read_text())


@pytest.mark.tensorflow
def test_rebuilding_from_the_manifest_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    samples = {f"x_{part}": rng.random((8, 4), np.float32) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(8) % 3 for part in ("train", "test")}
    np.savez(tmp_path / "d.npz", **samples, **labels)
    data = ["--data", str(tmp_path / "d.npz")]
    words = ["build", str(tmp_path / "m.keras"), "-r", "int8", *data]
    assert entry._run([*words, "-q", "-o", str(tmp_path / "a")]) == 0
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "another-home"))
    rebuild = ["package", "rebuild", str(tmp_path / "a"), str(tmp_path / "m.keras"), *data]
    assert entry._run([*rebuild, "-o", str(tmp_path / "b")]) == 0
    contents = [{f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in "ab"]
    assert contents[0] == contents[1]
    assert {"int8.tflite", "eval.npz"} < set(contents[0])
    assert open_to_others(tmp_path / "another-home") == []  # builds and checkpoints
    keras.utils.set_random_seed(2)
    model.layers[-1].set_weights([w + 1 for w in model.layers[-1].get_weights()])
    model.save(tmp_path / "m.keras")
    assert entry._run([*rebuild, "-o", str(tmp_path / "c")]) == 3  # another source model
