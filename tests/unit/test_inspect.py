"""What `edgepack inspect` says of a .tflite, and of Keras layers by counting by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from edgepack import inloop
from edgepack.cli import inspection
from edgepack.cli.inspect import inspect as command
from edgepack.compress.inspect import api
from edgepack.compress.inspect.document import Timed
from edgepack.errors import EdgepackError
from edgepack.model import Accelerator, OpTime
from tests import builders

pytestmark = pytest.mark.usefixtures("forked_children")

DATA = Path(__file__).parent.parent / "data"
SCHEMA = json.loads(
    (Path(api.__file__).parent / "schema" / "inspect.schema.json").read_text(encoding="utf-8")
)


def document(*arguments: str) -> dict[str, Any]:
    """The one JSON document of the real command, held against its schema."""
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(found, SCHEMA)
    return found


@pytest.fixture(scope="module")
def int8() -> dict[str, Any]:
    return document(str(DATA / "classifier_int8.tflite"))


def test_counts_and_sizes_of_a_flat_file(int8: dict[str, Any]) -> None:
    path = DATA / "classifier_int8.tflite"
    assert int8["kind"] == "tflite"
    assert int8["sizes"]["bytes"] == path.stat().st_size
    assert 0 < int8["sizes"]["gzip_bytes"] < path.stat().st_size
    assert (int8["params"], int8["macs"]) == (16, 16)  # one 4x4 matrix, used once


def test_quantization_of_signature_operators_and_weights(int8: dict[str, Any]) -> None:
    assert int8["quantization"] == "int8"
    (image,) = int8["signature"]["inputs"]
    assert image["dtype"] == "int8" and image["scale"] > 0
    (dense,) = [node for node in int8["nodes"] if node["type"] == "FULLY_CONNECTED"]
    assert (dense["computes"], dense["weights"]) == ("int8", "int8")
    (matrix,) = [weight for weight in int8["weights"] if weight["elements"] == 16]
    assert matrix["quantization"]["scheme"] == "channel"
    assert matrix["quantization"]["scales"] == 4
    assert matrix["sparsity"] == 0.75  # the identity matrix: 12 of 16 are zero


def test_what_xnnpack_leaves_is_named_and_adds_up(int8: dict[str, Any]) -> None:
    delegate = int8["delegate"]
    taken = [node for node in int8["nodes"] if node["delegated"]]
    left = [node for node in int8["nodes"] if node["delegated"] is False]
    assert (delegate["ops_delegated"], delegate["ops_total"]) == (len(taken), len(int8["nodes"]))
    assert [f"{node['type']} {node['name']}" for node in left] == delegate["left"]
    # XNNPACK has no int8 average pooling, and does take the matrix product.
    assert {node["type"] for node in taken} == {"FULLY_CONNECTED"}
    assert "AVERAGE_POOL_2D" in {node["type"] for node in left}
    by_type = {op["type"]: op for op in int8["ops"]}
    assert by_type["FULLY_CONNECTED"]["delegated"] == 1
    assert by_type["AVERAGE_POOL_2D"]["delegated"] == 0


def test_float_file_has_more_of_it_delegated(int8: dict[str, Any]) -> None:
    float_ = document(str(DATA / "classifier_float.tflite"))
    assert float_["quantization"] == "float"
    assert float_["delegate"]["partitions"] == 2
    assert {"AVERAGE_POOL_2D", "FULLY_CONNECTED"} <= {
        node["type"] for node in float_["nodes"] if node["delegated"]
    }
    # 4x4 values come in: at least as many bytes of plan. How many more the kernels ask for as
    # work space is the CPU's business (an int8 product was seen to take 57 kB); not a megabyte.
    assert 64 <= float_["sizes"]["arena"]["bytes"] < 1_000_000
    assert 16 <= int8["sizes"]["arena"]["bytes"] < 1_000_000


def test_several_inputs_are_all_listed() -> None:
    found = document(str(DATA / "two_inputs.tflite"))
    assert len(found["signature"]["inputs"]) == 2


def test_quality_on_data(tmp_path: Path) -> None:
    found = document(str(DATA / "classifier_float.tflite"))
    (image,) = found["signature"]["inputs"]
    shape = [size or 1 for size in image["shape"]][1:]
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.random((8, *shape), np.float32),
        "y_train": np.zeros(8, np.int64),
        "x_test": rng.random((8, *shape), np.float32),
        "y_test": np.zeros(8, np.int64),
    }
    np.savez(tmp_path / "d.npz", **arrays)
    scored = document(str(DATA / "classifier_float.tflite"), "--data", str(tmp_path / "d.npz"))[
        "data"
    ]
    assert (scored["samples"], scored["metric"]) == (8, "accuracy")
    assert 0 <= scored["value"] <= 1


@pytest.mark.parametrize("name", ["classifier_int8", "classifier_float", "two_inputs"])
def test_text_fits_eighty_columns(name: str) -> None:
    done = CliRunner().invoke(command, [str(DATA / f"{name}.tflite")], catch_exceptions=False)
    assert done.exit_code == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "XNNPACK takes" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_time_of_each_operation_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    (timed,) = document(str(DATA / "convolution_wide.tflite"), "--profile-ops")["timed"]
    assert (timed["device"], timed["estimated"]) == ("local", False)
    assert sum(op["share"] for op in timed["ops"]) == pytest.approx(1)
    assert "Convolution" in max(timed["ops"], key=lambda op: op["ns"])["name"]


def test_times_are_told_as_a_table_of_eighty_columns(int8: dict[str, Any]) -> None:
    ops = tuple(
        OpTime(name=name, index=i, partition=None, ns=ns, share=ns / 4000)
        for i, (name, ns) in enumerate((("CONV_2D", 1000), ("A_LONG_NAME " * 9, 3000)))
    )
    times = Timed(device="pi4", runtime="tflite-runtime 2.14.0", estimated=True, ops=ops)
    found = dataclasses.replace(api.inspect(str(DATA / "classifier_int8.tflite")), timed=(times,))
    text = inspection.render(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "time by operation on pi4, tflite-runtime 2.14.0, estimated" in text
    assert text.index("A_LONG_NAME") < text.rindex("CONV_2D"), "the slowest first"
    assert "25.0%" in text and "own kernel" in text


def test_rounded_times_and_whose_they_are_are_told(int8: dict[str, Any]) -> None:
    ops = (
        OpTime(name="Convolution", index=0, partition=0, ns=3000, share=0.75),
        OpTime(name="MEAN", index=1, partition=None, ns=1000, share=0.25),
    )
    times = Timed(device="pi4", runtime="ai-edge-litert 2.3.0", estimated=False, ops=ops)
    plain = api.inspect(str(DATA / "classifier_int8.tflite"))

    def said(times: Timed, **used: str) -> str:
        text = inspection.render(dataclasses.replace(plain, timed=(times,)), used)
        return " ".join(text.split())

    rounded = "by its profiler (XNNPACK's operations in whole microseconds, rounded down):"
    assert rounded in said(times) and "Convolution XNNPACK 0 3.0" in said(times)
    assert "MEAN own kernel 1.0" in said(times)
    assert "by its profiler:" in said(dataclasses.replace(times, ops=ops[1:]))
    delegated = said(dataclasses.replace(times, estimated=True), pi4="delegate:/d.so")
    assert "Convolution delegate 0 3.0" in delegated and "rounded down" not in delegated


def test_a_profile_with_a_delegate_claims_no_partition_for_xnnpack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    op = OpTime(name="MEAN", index=0, partition=0, ns=1000, share=1.0)
    used = Accelerator(requested="delegate:/d.so", actual="delegate:/d.so")
    measured = builders.measurement(
        "inspected", accelerator=used, ops=(op,), flags=("ops-estimated",)
    )
    report = SimpleNamespace(measurements=[measured])
    monkeypatch.setattr(inloop, "measure", lambda *_, **__: [report])
    path = str(DATA / "classifier_int8.tflite")
    done = CliRunner().invoke(command, [path, "--profile-ops"], catch_exceptions=False)
    assert "MEAN delegate 0 1.0 100.0%" in " ".join(done.stdout.split())


def test_data_on_devices_are_refused_with_the_command_that_takes_them() -> None:
    with pytest.raises(EdgepackError) as caught:
        document(str(DATA / "classifier_int8.tflite"), "--data", "device:/srv/d.npz")
    assert caught.value.code == "EP105"
    assert "edgepack run MODEL --data device:/srv/d.npz" in caught.value.hint


def test_operations_are_timed_of_flat_files_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(DATA / "classifier_int8.tflite"), "-d", "pi4"])
    assert done.exit_code == 2 and "--profile-ops" in done.output


@pytest.mark.parametrize("keep", [100, 400, 700])
def test_damaged_files_end_in_one_error(tmp_path: Path, keep: int) -> None:
    content = (DATA / "classifier_int8.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[:keep])
    with pytest.raises(EdgepackError) as caught:
        api.inspect(str(path))
    assert caught.value.code == "EP202"


def test_mutated_files_never_take_the_process_down(tmp_path: Path) -> None:
    content = bytearray((DATA / "classifier_float.tflite").read_bytes())
    rng = np.random.default_rng(1)
    for number in range(6):
        mutated = bytearray(content)
        for place in rng.integers(8, len(content), 24):
            mutated[place] = int(rng.integers(256))
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(mutated)
        try:
            api.inspect(str(path))
        except EdgepackError as error:
            assert error.code == "EP202"


@pytest.mark.tensorflow
def test_what_cannot_be_counted_is_said(tmp_path: Path) -> None:
    import keras

    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3)(image)).save(tmp_path / "free.keras")
    found = document(str(tmp_path / "free.keras"))
    assert found["macs"] is None
    assert any("not fixed" in note for note in found["notes"])


@pytest.mark.tensorflow
def test_keras_layers_counted_by_hand(tmp_path: Path) -> None:
    import keras

    x = image = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(x)
    x = keras.layers.DepthwiseConv2D(3, name="deep")(x)
    inner = keras.Sequential([keras.Input((2, 2, 4)), keras.layers.Dense(5, name="d")], name="in")
    x = keras.layers.Flatten()(inner(x))
    twice = keras.layers.Dense(20, name="twice", use_bias=False)
    model = keras.Model(image, twice(twice(x)))
    model.get_layer("twice").set_weights([np.eye(20, dtype=np.float32)])
    model.save(tmp_path / "m.keras")
    found = document(str(tmp_path / "m.keras"))
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["conv"]["macs"] == 4 * 4 * (3 * 3 * 2 * 4)
    assert layers["conv"]["params"] == 3 * 3 * 2 * 4 + 4
    assert layers["deep"]["macs"] == 2 * 2 * (3 * 3 * 4)
    assert layers["in.d"]["macs"] == 2 * 2 * (4 * 5)
    assert layers["twice"]["macs"] == 2 * 20 * 20
    assert layers["twice"]["sparsity"] == 0.95
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["params"] == model.count_params()
    assert found["delegate"] is None and found["sizes"]["arena"] is None
