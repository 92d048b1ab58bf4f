"""Calibration, int4 weights and mixed precision, through the engine as a user gets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from benchmarks import planted_faults as planted
from edgepack.compress import engine
from edgepack.compress.calibration import choose_rows, measure_ranges
from edgepack.compress.exposing import exposable, exposed
from edgepack.compress.flatbuffer_quantizer import Rule, edge_quantize
from edgepack.compress.flatgraph import quantization_of, read
from edgepack.compress.flatmodel import unpacked
from edgepack.compress.inspect.summary import summarize
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import PassSpec, Recipe, Variant

DATA = Path(__file__).parents[1] / "data"
tensorflow = pytest.mark.tensorflow


def _code(code: str) -> Any:
    return pytest.raises(EdgepackError, check=lambda error: error.code == code)


def _recipe(name: str, **params: Any) -> Recipe:
    label = "-".join([name.removeprefix("quantize."), *map(str, params.values())])
    return Recipe(name=label, passes=(PassSpec(name=name, params=params),))


# ---------------------------------------------------------------- samples and ranges


def test_samples_by_class_are_balanced_and_by_seed_repeat():
    labels = np.array([0] * 80 + [1] * 15 + [2] * 5, np.int32)
    rows = choose_rows(100, 30, seed=3, by="class", labels=labels)
    assert np.bincount(labels[rows]).tolist() == [13, 12, 5]
    assert len(set(rows.tolist())) == 30
    again = choose_rows(100, 30, seed=3, by="class", labels=labels)
    other = choose_rows(100, 30, seed=4, by="class", labels=labels)
    assert rows.tolist() == again.tolist() != other.tolist()
    with _code("EP105"):
        choose_rows(100, 30, seed=3, by="class")


def test_percentile_cuts_a_stray_value_that_minmax_and_mse_pay_for():
    content = (DATA / "classifier_float.tflite").read_bytes()
    rng = np.random.default_rng(0)
    images = rng.random((300, 4, 4, 1), dtype=np.float32)
    images[7, :2, :2] = 50.0
    inner = next(read(content).name(op) for op in read(content).ops if "POOL" in op.kind)
    high = {
        method: measure_ranges(content, {"image": images}, method, percentile=99.5)[inner][1]
        for method in ("minmax", "percentile", "mse")
    }
    assert high["minmax"] == pytest.approx(50.0)
    assert 0.8 < high["percentile"] < 1.2
    assert high["mse"] > 40, "cutting four values by 49 costs more than coarse steps"


def test_mse_is_the_range_with_the_least_rounding_error():
    content = (DATA / "classifier_float.tflite").read_bytes()
    rng = np.random.default_rng(0)
    images = rng.laplace(size=(400, 4, 4, 1)).astype(np.float32)
    images[0] *= 4
    inner = next(read(content).name(op) for op in read(content).ops if "POOL" in op.kind)
    pooled = images.reshape(400, 2, 2, 2, 2).mean(axis=(2, 4))

    def error(ends: tuple[float, float]) -> float:
        step = (ends[1] - ends[0]) / 15
        kept = np.clip(np.rint((pooled - ends[0]) / step), 0, 15) * step + ends[0]
        return float(np.square(kept - pooled).mean())

    found = {
        method: measure_ranges(content, {"image": images}, method, bits=4)[inner]
        for method in ("minmax", "mse")
    }
    assert error(found["mse"]) < 0.7 * error(found["minmax"])


# ---------------------------------------------------------------- what a file already is


def test_the_quantization_of_committed_files_is_read():
    assert quantization_of((DATA / "classifier_float.tflite").read_bytes()) == "float"
    assert quantization_of((DATA / "classifier_int8.tflite").read_bytes()) == "int8"


def test_the_quantization_of_edge_quantized_files_is_read():
    content = (DATA / "classifier_float.tflite").read_bytes()
    images = np.random.default_rng(0).random((20, 4, 4, 1), dtype=np.float32)
    ranges = measure_ranges(content, {"image": images})
    dense = {"kind": "FULLY_CONNECTED"}
    assert quantization_of(edge_quantize(content, [Rule()], ranges)) == "int8"
    assert quantization_of(edge_quantize(content, [Rule(activations="int16")], ranges)) == "int16x8"
    assert quantization_of(edge_quantize(content, [Rule(activations="float")])) == "dynamic"
    four = [Rule(activations="float", weights=4, **dense)]
    assert quantization_of(edge_quantize(content, four)) == "int4"


@pytest.mark.parametrize(("name", "said"), [("int8", ["int8"]), ("float", [])])
def test_an_int8_file_is_recognised_and_left_alone(tmp_path: Path, name: str, said: list[str]):
    path = DATA / f"classifier_{name}.tflite"
    built = engine.build(str(path), [], None, cache=tmp_path, emit=lambda event: None)
    (variant,) = built.variants
    assert built.files[variant.sha256].read_bytes() == path.read_bytes()
    assert [word for word in ("int8", "mixed") if word in " ".join(variant.warnings)] == said


# ---------------------------------------------------------------- passes


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., list[tuple[Variant, bytes]]]:
    def call(model: Any, dataset: Dataset, *recipes: Recipe) -> list[tuple[Variant, bytes]]:
        path = tmp_path / "model.keras"
        model.save(path)
        built = engine.build(
            str(path), recipes, dataset, cache=tmp_path / "cache", emit=lambda event: None
        )
        return [(v, built.files[v.sha256].read_bytes()) for v in built.variants[1:]]

    return call


def _dataset(model: Any, seed: int, stray: float = 1.0) -> Dataset:
    """Unlabelled samples; one training sample is `stray` times too large."""
    train = np.concatenate([planted.inputs_for(model, seed + k)["x"] for k in range(1, 5)])
    train[5] *= stray
    return Dataset(x_train={"x": train}, x_test=planted.inputs_for(model, seed))


@tensorflow
def test_percentile_calibration_survives_a_stray_sample(build: Any):
    model = planted.plain(2)
    plain, percentile, wide = build(
        model,
        _dataset(model, 2, stray=60.0),
        _recipe("quantize.int8"),
        _recipe("quantize.int8", calibration="percentile", percentile=99.0),
        _recipe("quantize.int16x8", calibration="mse"),
    )
    assert percentile[0].agreement.snr_db > plain[0].agreement.snr_db + 3
    assert any("percentile 99 " in fact for fact in percentile[0].lineage[-1].facts)
    assert quantization_of(percentile[1]) == "int8"
    assert quantization_of(wide[1]) == "int16x8"
    assert {spec.dtype for spec in wide[0].signature.inputs} == {"float32"}
    assert wide[0].agreement.snr_db > 35


@tensorflow
@pytest.mark.parametrize(("activations", "dtype"), [("float", "float32"), ("int8", "int8")])
def test_int4_weights_are_in_the_file_and_it_runs(build: Any, activations: str, dtype: str):
    model = planted.plain(2)
    (variant, content), (dynamic, _) = build(
        model,
        _dataset(model, 2),
        _recipe("quantize.int4-weights", activations=activations),
        _recipe("quantize.dynamic"),
    )
    kinds = [t.dtype for t in read(content).tensors if t.data is not None and len(t.shape) > 1]
    assert kinds.count("int4") == 4
    assert variant.signature.inputs[0].dtype == dtype
    assert variant.bytes < dynamic.bytes
    assert variant.agreement.snr_db > 10
    assert any("4 bits" in warning for warning in variant.warnings)


@tensorflow
def test_int4_weights_are_refused_where_no_layer_takes_them(build: Any):
    import keras

    image = keras.Input((8, 8, 3), name="x")
    model = keras.Model(image, keras.layers.DepthwiseConv2D(3, name="only")(image))
    with _code("EP206"):
        build(model, _dataset(model, 2), _recipe("quantize.int4-weights"))


@tensorflow
@pytest.mark.parametrize(("fallback", "agreement"), [("float", 0.95), ("int16", 0.85)])
def test_mixed_keeps_few_operators_and_reaches_the_goal(
    build: Any, fallback: str, agreement: float
):
    model = planted.normalized(4)
    sizes = 10 ** np.random.default_rng(4).uniform(-1.5, 0.5, (160, 8, 1))
    x = np.random.default_rng(5).normal(size=(160, 8, 24)) * sizes
    kernel, bias = model.get_layer("a").get_weights()
    model.get_layer("a").set_weights([kernel, 0 * bias])
    x = x.astype(np.float32)
    dataset = Dataset(x_train={"x": x[:128]}, x_test={"x": x[128:]})
    mixed = {"samples": 64, "evaluate": 64, "min_agreement": agreement, "fallback": fallback}
    (int8, _), (variant, content) = build(
        model, dataset, _recipe("quantize.int8", samples=64), _recipe("quantize.mixed", **mixed)
    )
    assert int8.agreement.top1_agreement < 0.9
    assert any(w.startswith("sensitive operators: ") for w in int8.warnings)
    assert variant.agreement.top1_agreement > int8.agreement.top1_agreement + 0.1
    told = next(w for w in variant.warnings if "operators in" in w)
    assert f" operators in {fallback} " in told
    graph = read(content)
    kept = [op for op in graph.ops if graph.tensors[op.outputs[0]].dtype.startswith(fallback)]
    assert 0 < len(kept) < len(graph.ops) - 3
    assert any(w.startswith("sensitive operators: ") for w in variant.warnings)


@tensorflow
def test_mixed_leaves_a_healthy_net_in_int8(build: Any):
    model = planted.plain(2)
    ((variant, content),) = build(
        model, _dataset(model, 2), _recipe("quantize.mixed", samples=64, min_agreement=0.9)
    )
    assert quantization_of(content) == "int8"
    assert any("nothing had to be kept" in warning for warning in variant.warnings)


@tensorflow
def test_mixed_needs_samples_that_calibration_did_not_take(build: Any):
    model = planted.plain(2)
    with _code("EP105"):
        build(model, _dataset(model, 2), _recipe("quantize.mixed", samples=128))


# ---------------------------------------------------------------- weights behind the flatbuffer


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def outside() -> tuple[bytes, bytes]:
    """A file, and the same one with its weights behind the flatbuffer, as ai-edge-quantizer
    writes files from 256 KiB of weights on."""
    content = (DATA / "convolution_wide.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    large = [each for each in model.buffers if each.data is not None and len(each.data) >= 1024]
    taken = [bytes(each.data) for each in large]
    for each in large:
        each.data, each.offset, each.size = None, 2, 1
    end = len(packed(model))  # the numbers to come take no more room than these
    for each, data in zip(large, taken, strict=True):
        each.offset, each.size = end + -end % 16, len(data)
        end = each.offset + each.size
    made = bytearray(packed(model))
    for each, data in zip(large, taken, strict=True):
        made += bytes(each.offset - len(made)) + data
    assert large
    return content, bytes(made)


def test_weights_outside_are_counted(outside):
    content, made = outside
    assert summarize(made) == summarize(content)
    inside = {tensor.name: tensor.data for tensor in read(content).tensors}
    for tensor in read(made).tensors:
        np.testing.assert_array_equal(tensor.data, inside[tensor.name])


def test_a_file_with_weights_outside_keeps_them_when_its_results_are_exposed(outside):
    _, made = outside
    last = exposable(made)[-1]
    outputs = []
    for content in (made, exposed(made, [last.tensor])):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]
        scale, zero = given["quantization"]
        image = np.random.default_rng(1).random(given["shape"], dtype=np.float32)
        value = image if not scale else np.round(image / scale + zero).astype(given["dtype"])
        interpreter.set_tensor(given["index"], value)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.testing.assert_array_equal(*outputs)


def test_a_place_that_is_not_in_the_file_is_refused(outside):
    _, made = outside
    model = schema.ModelT.InitFromPackedBuf(made, 0)
    model.buffers[1].offset, model.buffers[1].size = 1 << 40, 1 << 40
    with pytest.raises(ValueError, match="are not in a file of"):
        unpacked(packed(model))
