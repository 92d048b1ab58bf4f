"""What benchmarks/compression.py compares with: the bare tools, as their guides show them."""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgepack import resources
from edgepack.compress import checking, passes, sources
from edgepack.compress.loading import load
from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import KerasNetwork
from edgepack.compress.passes.base import Context, State
from edgepack.compress.workshop import fitted
from edgepack.data import Dataset
from edgepack.model import Event, PassSpec, Signature

CALIBRATION = 200
Samples = Callable[[], Iterator[list[Any]]]


def say(event: Event) -> None:
    """Progress on standard error, one line an event that matters."""
    if event.kind in ("stage", "failed", "warning"):
        print(f"{event.variant or ''} {event.message}", file=sys.stderr, flush=True)


def _network(model: str) -> KerasNetwork:
    network = load(sources.identify(model))
    assert isinstance(network, KerasNetwork)
    return network


def _samples(dataset: Dataset) -> Samples:
    """Representative data as the converter's guide gives it: one batch-1 sample at a time."""
    rows = np.random.default_rng(0).permutation(dataset.train_samples)[:CALIBRATION]
    images = next(iter(dataset.real("train", np.sort(rows)).values()))
    return lambda: ([image[None]] for image in images)


def plain_float(model: Any) -> bytes:
    """The bare converter, float."""
    with quiet():
        return bytes(tensorflow().lite.TFLiteConverter.from_keras_model(model).convert())


def plain_int8(model: Any, samples: Samples) -> bytes:
    """The bare converter, full integer."""
    tf = tensorflow()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def static_int8(content: bytes, samples: Samples) -> bytes:
    """ai-edge-quantizer's static int8 recipe with its own calibration."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    interpreter = Interpreter(model_content=content)
    name = next(iter(interpreter.get_signature_list().values()))["inputs"][0]
    worker = quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8())
    key = next(iter(interpreter.get_signature_list()))
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        ranges = worker.calibrate({key: [{name: sample[0]} for sample in samples()]})
        return bytes(worker.quantize(ranges).quantized_model)


def converted(model: str, dataset: Dataset) -> dict[str, bytes]:
    """Name -> file of the peers that only convert."""
    network = _network(model)
    samples = _samples(dataset)
    whole = plain_float(network.model)
    return {
        "peer-plain-int8": plain_int8(network.model, samples),
        "peer-quantizer-static": static_int8(whole, samples),
    }


def signature(path: Path, workdir: Path) -> Signature:
    """Inputs and outputs of a file, read in a child process."""
    return checking.run(path, None, workdir).summary.signature


def conversion_cost(dataset: Dataset, repeats: int = 5) -> list[str]:
    """edgepack's converting passes against the bare converter, interleaved: Markdown lines."""
    network = _network(str(resources.demo_dir() / "fashion_mnist_resnet.keras"))
    data = fitted(dataset, Signature(inputs=network.inputs, outputs=network.outputs))
    samples = _samples(data)
    bare: dict[str, Callable[[], object]] = {
        "float": lambda: plain_float(network.model),
        "int8": lambda: plain_int8(network.model, samples),
    }
    names = {"float": "convert.float", "int8": "quantize.int8"}
    lines = [
        "| conversion | edgepack, CPU s | bare converter, CPU s | ratio of medians (of pairs) |",
        "| --- | --- | --- | --- |",
    ]
    for kind, call in bare.items():
        own, theirs = [], []
        for _ in range(repeats + 1):
            theirs.append(_seconds(call))
            own.append(_seconds(lambda: _pass(names[kind], network, data)))  # noqa: B023
        a, b = statistics.median(own[1:]), statistics.median(theirs[1:])
        pairs = sorted(x / y for x, y in zip(own[1:], theirs[1:], strict=True))
        spread = f"{a / b:.2f} ({pairs[0]:.2f}–{pairs[-1]:.2f})"
        lines.append(f"| {kind} | {a:.2f} | {b:.2f} | {spread} |")
    return lines


def _seconds(call: Callable[[], object]) -> float:
    """CPU time, which other work on the machine changes less than the time on the wall."""
    started = time.process_time()
    call()
    return time.process_time() - started


def _pass(name: str, network: KerasNetwork, dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory(prefix="edgepack-bench-") as folder:
        context = Context(
            source=network,
            dataset=dataset,
            recipe=name,
            seed=0,
            workdir=Path(folder),
            emit=lambda event: None,
        )
        passes.make(PassSpec(name=name)).run(State(network=network), context)
