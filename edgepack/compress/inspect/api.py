"""`inspect`: opens any source model and says what is in it.

A `.tflite` is read and loaded in a child process; a Keras model is looked through for code and
bombs first, like anywhere else.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgepack import codec
from edgepack import data as datasets
from edgepack.compress import checking, loading, sources
from edgepack.compress.inspect import graphs, layers
from edgepack.compress.inspect.document import Inspection, OnData, Sizes
from edgepack.compress.inspect.flatfile import FlatReport
from edgepack.compress.network import KerasNetwork, Network, SavedModelNetwork
from edgepack.compress.refusals import not_a_model
from edgepack.compress.sources import Source
from edgepack.data import Dataset
from edgepack.data.dataset import Array
from edgepack.model import Signature

SCHEMA = "edgepack.inspect/1"
_TIMEOUT_S = 300.0
# Enough for a quality with an error below 2 points, and soon done on a large model.
_SAMPLES = 512


def inspect(
    model: str,
    *,
    arch: str | None = None,
    allow_custom_objects: str | None = None,
    dataset: Dataset | None = None,
) -> Inspection:
    """Everything that is known of the model. EP201-EP203 the model, EP205 it does not run on
    the data, EP303 data that does not fit, EP105 `arch`."""
    source = sources.identify(model, arch)
    if source.kind == "tflite":
        return _flat(source, dataset)
    network = loading.load(source, allow_custom_objects)
    return _keras(source, network, dataset)


def to_document(inspection: Inspection) -> dict[str, Any]:
    """The inspection as JSON types, as `schema/inspect.schema.json` describes them."""
    return {"schema": SCHEMA, **codec.to_json(inspection)}


def _flat(source: Source, dataset: Dataset | None) -> Inspection:
    with tempfile.TemporaryDirectory(prefix="edgepack-inspect-") as folder:
        report_file = Path(folder) / "report.json"
        arguments = [str(source.path), str(report_file)]
        done = checking.run_module("edgepack.compress.inspect.flatfile", arguments, _TIMEOUT_S)
        if done.returncode != 0:
            raise not_a_model(checking.reason(done), str(source.path))
        document = json.loads(report_file.read_text(encoding="utf-8"))
        report = codec.from_json(FlatReport, document)
        on_data = None
        if dataset is not None:
            fitted, inputs = _test_inputs(dataset, report.summary.signature)
            outputs = checking.run(source.path, inputs, Path(folder)).outputs
            on_data = _on_data(fitted, outputs)
    raw, compressed = _bytes(source.path)
    return Inspection(
        model=source.path.name,
        kind=source.kind,
        framework="tflite",
        sha256=source.sha256,
        sizes=Sizes(bytes=raw, gzip_bytes=compressed, arena=report.arena),
        signature=report.summary.signature,
        params=report.summary.params,
        macs=report.summary.macs,
        sparsity=report.summary.sparsity,
        quantization=report.quantization,
        ops=report.ops,
        nodes=report.nodes,
        weights=report.weights,
        delegate=report.delegate,
        data=on_data,
        notes=report.notes,
    )


def _keras(source: Source, network: Network, dataset: Dataset | None) -> Inspection:
    signature = Signature(inputs=network.inputs, outputs=network.outputs)
    on_data = None
    if dataset is not None:
        fitted, inputs = _test_inputs(dataset, signature)
        on_data = _on_data(fitted, network.predict(inputs))
    raw, compressed = _bytes(source.path)
    tables = _saved_tables(network) if isinstance(network, SavedModelNetwork) else {}
    if isinstance(network, KerasNetwork):
        tables = _keras_tables(network)
    return Inspection(
        model=source.path.name,
        kind=source.kind,
        framework=getattr(network, "framework", "tensorflow"),
        sha256=source.sha256,
        sizes=Sizes(bytes=raw, gzip_bytes=compressed),
        signature=signature,
        data=on_data,
        **tables,
    )


def _keras_tables(network: KerasNetwork) -> dict[str, Any]:
    found = layers.layers(network.model)
    unknown = sorted({layer.type for layer in found if layer.macs is None})
    notes = [f"MACs are not known for {', '.join(unknown)}."] if unknown else []
    if unknown and any(None in spec.shape[1:] for spec in network.inputs):
        notes.append("MACs depend on the input's size, which is not fixed.")
    return {
        "params": network.params(),
        "macs": _total([layer.macs for layer in found]),
        "sparsity": network.sparsity(),
        "layers": found,
        "weights": layers.weights(network.model),
        "notes": tuple(notes),
    }


def _saved_tables(network: SavedModelNetwork) -> dict[str, Any]:
    ops, tensors = graphs.operations(network), graphs.weights(network)
    unknown = [op.type for op in ops if op.macs is None]
    matrices = [weight for weight in tensors if len(weight.shape) >= 2]
    elements = sum(weight.elements for weight in matrices)
    zeros = sum(weight.sparsity * weight.elements for weight in matrices)
    notes = [f"MACs are not known for {', '.join(unknown)}."] if unknown else []
    return {
        "params": sum(weight.elements for weight in tensors),
        "macs": _total([op.macs for op in ops]),
        "sparsity": zeros / elements if elements else None,
        "ops": ops,
        "weights": tensors,
        "notes": ("The SavedModel holds no Keras layers: operations are listed.", *notes),
    }


def _total(works: list[int | None]) -> int | None:
    return None if None in works else sum(work for work in works if work is not None)


def _bytes(path: Path) -> tuple[int, int]:
    """Bytes of a file or of all files of a folder, raw and each compressed by gzip -9."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    contents = [file.read_bytes() for file in files]
    compressed = [len(gzip.compress(content, compresslevel=9, mtime=0)) for content in contents]
    return sum(map(len, contents)), sum(compressed)


def _test_inputs(dataset: Dataset, signature: Signature) -> tuple[Dataset, dict[str, Array]]:
    fitted = datasets.fit(dataset, signature)
    return fitted, fitted.real("test", slice(0, _SAMPLES))


def _on_data(dataset: Dataset, outputs: Mapping[str, Array]) -> OnData:
    value = checking.quality(outputs, dataset.y_test, dataset.task)
    metric = {"classification": "accuracy", "regression": "mae"}.get(dataset.task)
    finite = value is not None and bool(np.isfinite(value))
    return OnData(
        samples=len(next(iter(outputs.values()))),
        task=dataset.task,
        metric=metric if finite else None,
        value=value if finite else None,
    )
