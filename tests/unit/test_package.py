"""A package is deterministic, checked whole, and never half written."""

import errno
import hashlib
import json

import numpy as np
import pytest

from edgepack import package
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import PassReport, Recipe, Signature, TensorSpec, Transform, Variant


def variant(name, content, seconds=1.0):
    spec = TensorSpec(name="x", shape=(1, 4), dtype="float32")
    return Variant(
        name=name,
        recipe=Recipe(name=name),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        gzip_bytes=len(content),
        signature=Signature(inputs=(spec,), outputs=(spec,)),
        lineage=(PassReport(name="float", seconds=seconds),),
    )


@pytest.fixture
def dataset():
    rows = np.arange(40, dtype=np.uint8).reshape(10, 4)
    return Dataset(
        x_train={},
        y_train=None,
        x_test={"x": rows},
        y_test=np.arange(10) % 2,
        transforms={"x": Transform(scale=1 / 255)},
        task="classification",
        source="dataset",
        classes=("a", "b"),
    )


@pytest.fixture
def write(tmp_path, dataset):
    def _write(directory, seconds=1.0, contents=(b"one", b"two")):
        files = {}
        for content in contents:
            file = tmp_path / f"{hashlib.sha256(content).hexdigest()}.src"
            file.write_bytes(content)
            files[file.stem] = file
        return package.write(
            directory,
            source_name="m.keras",
            source_sha256="0" * 64,
            variants=[variant(f"v{i}", c, seconds) for i, c in enumerate(contents)],
            files=files,
            dataset=dataset,
            tools={"edgepack": "0.1.0"},
        )

    return _write


def contents(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_the_same_inputs_give_the_same_bytes(tmp_path, write):
    first = write(tmp_path / "a", seconds=1.0)
    second = write(tmp_path / "b", seconds=2.0)
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    package.bundle(tmp_path / "a", tmp_path / "a.edgepack")
    package.bundle(tmp_path / "b", tmp_path / "b.edgepack")
    assert (tmp_path / "a.edgepack").read_bytes() == (tmp_path / "b.edgepack").read_bytes()


def test_what_is_written_is_read_back(tmp_path, write):
    written = write(tmp_path / "p")
    assert package.read(tmp_path / "p") == written
    package.bundle(tmp_path / "p", tmp_path / "p.edgepack")
    assert package.unbundle(tmp_path / "p.edgepack", tmp_path / "q") == written


def test_writing_again_replaces_the_whole(tmp_path, write):
    write(tmp_path / "p")
    write(tmp_path / "p", contents=(b"one",))
    assert "v1.tflite" not in contents(tmp_path / "p")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".package")] == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path, write):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("years of work")
    with pytest.raises(EdgepackError) as caught:
        write(tmp_path / "p")
    assert caught.value.code == "EP105"
    assert (tmp_path / "p" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["file", "file/p", "nowhere"])
def test_a_file_is_no_place_for_a_package(tmp_path, write, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to("none")
    for refuses in (write, package.check_output):
        with pytest.raises(EdgepackError) as caught:
            refuses(tmp_path / name)
        assert caught.value.code == "EP105"


def test_a_full_disk_is_one_error_and_the_old_package_stays(tmp_path, write, monkeypatch):
    before = write(tmp_path / "p")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(EdgepackError) as caught:
        write(tmp_path / "p")
    assert caught.value.code == "EP603"
    assert "No space left" in caught.value.what
    assert package.read(tmp_path / "p") == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["v0.tflite", "v1.tflite", "eval.npz", "manifest.json"])
def test_one_flipped_byte_is_found(tmp_path, write, name):
    digest = write(tmp_path / "p").digest
    raw = bytearray((tmp_path / "p" / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "p" / name).write_bytes(raw)
    try:
        assert package.read(tmp_path / "p").digest != digest
    except EdgepackError as error:
        assert error.code == "EP208"


def test_evaluation_data_of_a_hostile_package_are_one_coded_error(tmp_path, write):
    write(tmp_path / "p")
    (tmp_path / "p" / package.EVAL_FILE).write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(EdgepackError) as caught:
        package.evaluation(tmp_path / "p")
    assert caught.value.code == "EP208"


@pytest.mark.parametrize("evil", ["../evil.tflite", "/tmp/evil.tflite", "a/b.tflite", ""])
def test_a_manifest_cannot_name_files_outside(tmp_path, write, evil):
    write(tmp_path / "p")
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    manifest["files"][evil] = manifest["files"].pop("v0.tflite")
    (tmp_path / "p" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EdgepackError) as caught:
        package.read(tmp_path / "p")
    assert caught.value.code == "EP208"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"schema": "x"}', b'{"schema":"edgepack.package/1"}', b"\xff"]
)
def test_a_damaged_manifest_is_one_coded_error(tmp_path, write, raw):
    write(tmp_path / "p")
    (tmp_path / "p" / "manifest.json").write_bytes(raw)
    with pytest.raises(EdgepackError) as caught:
        package.read(tmp_path / "p")
    assert caught.value.code == "EP208"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("gone", "no such folder or file", "edgepack build"),
        ("m.tflite", "a model, not a package", "edgepack run"),
    ],
)
def test_what_is_there_instead_of_a_package_is_said(tmp_path, name, said, hint):
    (tmp_path / "m.tflite").write_bytes(b"0000TFL3")
    with pytest.raises(EdgepackError) as caught:
        package.opened(tmp_path / name, tmp_path / "scratch")
    assert caught.value.code == "EP208"
    assert said in caught.value.what and hint in caught.value.hint


def test_a_package_may_have_the_name_of_a_model(tmp_path, write):
    write(tmp_path / "m.tflite")
    assert package.opened(tmp_path / "m.tflite", tmp_path / "scratch")[1].name == "m.tflite"


def test_a_file_that_is_no_bundle_is_one_coded_error(tmp_path):
    (tmp_path / "b.edgepack").write_bytes(b"not a zip")
    with pytest.raises(EdgepackError) as caught:
        package.unbundle(tmp_path / "b.edgepack", tmp_path / "q")
    assert caught.value.code == "EP208"
