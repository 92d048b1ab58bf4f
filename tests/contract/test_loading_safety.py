"""Hostile model files, made for real: each ends in one coded error, and none of them gets to act.

A file that would run code when it is opened writes a marker; the tests look for the marker.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.hostile_models import layer, refused, sequential, write_archive, write_h5, writing_lambda

# ---------------------------------------------------------------- code


@pytest.mark.tensorflow
def test_lambda_in_h5_is_refused_unrun_and_would_have_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = write_h5(tmp_path / "m.h5", sequential(writing_lambda(marker)))
    assert "Lambda" in refused(path, "EP203")
    assert not marker.exists()
    # The corpus is only worth something if it bites: tf_keras runs this one without a question.
    import tf_keras

    tf_keras.models.load_model(path, compile=False)
    assert marker.exists()


@pytest.mark.parametrize("version", ["3.5.0", "2.13.1"])
def test_lambda_in_archive_is_refused(tmp_path: Path, version: str) -> None:
    marker = tmp_path / "marker"
    path = write_archive(tmp_path / "m.keras", sequential(writing_lambda(marker)), version=version)
    assert "Lambda" in refused(path, "EP203")
    assert not marker.exists()


@pytest.mark.parametrize(
    "node",
    [
        layer("Evil", {}, module="os.path"),
        layer("system", {}, module="os", registered_name="os>system"),
        layer("Dense", {"units": 1}, module="keras.layers", registered_name="pkg>Dense"),
        layer("get_file", {"origin": "http://x"}, module="keras.utils"),
        layer("_execute", {}, module="keras.src.utils.python_utils"),
        layer("TFSMLayer", {"filepath": "/tmp/x"}, module="keras.layers"),
        layer("TorchModuleWrapper", {"module": "gASV"}, module="keras.layers"),
        layer("StringLookup", {"vocabulary": "/etc/passwd"}, module="keras.layers"),
        layer("Dense", {"kernel_initializer": layer("__lambda__", {"value": "x"})}),
        layer("TFOpLambda", {"function": "io.write_file"}),
        layer("TFOpLambda", {"function": "compat.v1.write_file"}),
        layer("TFOpLambda", {"function": "raw_ops.WriteFile"}),
        layer("TFOpLambda", {"function": "numpy_function"}),
        layer("TensorFlowOpLayer", {"node_def": json.dumps({"op": "WriteFile"})}),
        layer("lambda", {}),
        layer("keras.layers>Lambda", {}),
    ],
    ids=lambda node: str(node["class_name"]),
)
def test_code_in_an_architecture_is_refused(tmp_path: Path, node: dict[str, Any]) -> None:
    refused(write_archive(tmp_path / "m.keras", sequential(node)), "EP203")
    refused(write_h5(tmp_path / "m.h5", sequential(node)), "EP203")


def test_naming_one_module_does_not_open_the_door_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_only.py").write_text("class Mine: ...\n")
    monkeypatch.chdir(tmp_path)
    foreign = sequential(layer("system", {}, module="os"))
    said = refused(write_archive(tmp_path / "a.keras", foreign), "EP203", allow="mine_only")
    assert "os.system" in said
    writes = sequential(layer("TFOpLambda", {"function": "io.write_file"}))
    refused(write_archive(tmp_path / "b.keras", writes), "EP203", allow="mine_only")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_are_refused_unopened(tmp_path: Path, protocol: int) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "marker",)

    content = pickle.dumps(Evil(), protocol=protocol)
    (tmp_path / "model.pkl").write_bytes(content)
    refused(tmp_path / "model.pkl", "EP203")
    inside = write_archive(tmp_path / "m.keras", sequential(), {"assets/state": content})
    assert "pickle" in refused(inside, "EP203")
    assert not (tmp_path / "marker").exists()


# ---------------------------------------------------------------- bombs


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    bomb = write_archive(tmp_path / "m.keras", sequential(), {"assets/zeros": bytes(70 * 2**20)})
    assert bomb.stat().st_size < 2**20
    assert "would unpack" in refused(bomb, "EP202")


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "m.keras", sequential(), {"assets/a": b"a" * 5000})
    content = bytearray(path.read_bytes())
    # The directory's last record claims more compressed bytes than the archive has.
    record = content.rfind(b"PK\x01\x02")
    content[record + 20 : record + 24] = struct.pack("<I", 10 * len(content))
    path.write_bytes(content)
    refused(path, "EP202")


@pytest.mark.parametrize(
    "name", ["../../evil.py", "/etc/evil", "assets/../../evil", "C:evil", "a\\..\\evil"]
)
def test_entries_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / "m.keras", sequential(), {name: b"x"})
    assert "points out" in refused(path, "EP202")


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "m.keras", sequential())
    entry = zipfile.ZipInfo("assets/link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "is a link" in refused(path, "EP202")


def absurd_shape(file: h5py.File) -> None:
    file.create_dataset("w", shape=(2**40,), dtype="f4", chunks=(2**20,))


def compressed_zeros(file: h5py.File) -> None:
    file.create_dataset("w", data=np.zeros(20 * 2**20, "f4"), compression="gzip")


def external_link(file: h5py.File) -> None:
    file["w"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: h5py.File) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "w", shape=(4,))
    file.create_virtual_dataset("w", layout)


def external_storage(file: h5py.File) -> None:
    file.create_dataset("w", shape=(4,), dtype="f4", external=[("/etc/passwd", 0, 16)])


def deep_groups(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(80):
        group = group.create_group("g")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (absurd_shape, "stores 0 bytes"),
        (compressed_zeros, "claims 80 MiB"),
        (external_link, "a link to /etc/passwd"),
        (soft_link, "is a link"),
        (virtual, "another file"),
        (external_storage, "another file"),
        (deep_groups, "nested"),
    ],
)
def test_hostile_hdf5_is_refused_as_file_and_inside_an_archive(
    tmp_path: Path, make: Any, words: str
) -> None:
    path = write_h5(tmp_path / "m.h5", sequential())
    with h5py.File(path, "a") as file:
        make(file)
    assert words in refused(path, "EP202")
    inside = write_archive(
        tmp_path / "m.keras", sequential(), {"model.weights.h5": path.read_bytes()}
    )
    assert words in refused(inside, "EP202")


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "[" * 20_000 + "]" * 20_000
    refused(path, "EP202")


# ---------------------------------------------------------------- damaged files


def test_truncated_and_foreign_files_are_no_models(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "whole.keras", sequential()).read_bytes()
    h5 = write_h5(tmp_path / "whole.h5", sequential()).read_bytes()
    for name, content in {
        "half.keras": whole[: len(whole) // 2],
        "half.h5": h5[: len(h5) // 2],
        "magic.h5": h5[:8],
        "text.keras": b"not a model at all",
        "empty.keras": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "EP202")


def test_an_archive_without_an_architecture_is_no_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "m.keras", "EP202")


def test_weights_without_an_architecture_are_no_model(tmp_path: Path) -> None:
    assert "--arch" in refused(write_h5(tmp_path / "w.h5", None), "EP202")
