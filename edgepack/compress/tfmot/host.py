"""The host's side of the tf_keras worker: a network and a slice of the data go out, and new
weights come back; the caller's model is never touched.

What the folder between the two holds: job.json; weights.npz ("<layer path>|<index>");
data.npz ("x:<input>" as stored, "y:<number>", and "probe:<number>": the outputs for the first
rows, which the rebuilt model must reproduce); result.npz (as weights.npz), report.json and,
from a task that ends in a file, saved_model/ from the worker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgepack.compress import bridge, heldback, training
from edgepack.compress.network import KerasNetwork, Network
from edgepack.compress.passes.base import Context
from edgepack.compress.tfmot.process import run_worker
from edgepack.compress.training.heads import Head, describe
from edgepack.data.dataset import Array
from edgepack.data.npz import npz_bytes, read_npz
from edgepack.errors import EdgepackError

PROBE_ROWS = 8
PASSES = {"prune": "prune.magnitude", "cluster": "cluster", "qat": "quantize.qat"}


@dataclass(frozen=True, kw_only=True)
class TuningParams:
    """The short fine-tune with Adam that goes with every task.

    steps: batches to train on. epochs: passes over the samples trained on; given, it sets the
    number of steps. time_limit_s: when the worker is stopped, fine-tune and all.
    """

    steps: Annotated[int, Field(ge=1)] = 60
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    time_limit_s: Annotated[float, Field(gt=0)] = 3600.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the worker gives back: the network with new weights, its report, its folder.

    notes: what a user should know about the data that was trained on.
    """

    network: KerasNetwork
    report: dict[str, Any]
    folder: Path
    notes: tuple[str, ...]


def run(
    task: str,
    network: Network,
    context: Context,
    tuning: TuningParams,
    params: Mapping[str, Any],
) -> Result:
    """Do `task` ("prune", "cluster", "qat") in the worker.

    Labels are learned as in `finetune`. Without labels that fit the network's single output,
    the source network's own outputs are the targets. EP206 when the network
    cannot go there, EP207 when the worker fails.
    """
    if context.dataset.source != "random":
        training.check(context.dataset, PASSES[task])
    if not isinstance(network, KerasNetwork):
        raise EdgepackError(
            "EP206",
            "This SavedModel holds no Keras layers, so its weights cannot be changed",
            hint="Give the Keras model itself, or a recipe that only quantizes.",
        )
    folder = context.workdir / f"{task}-{len(list(context.workdir.iterdir()))}"
    folder.mkdir()
    batch = network.inputs[0].shape[0] or tuning.batch_size
    steps, goal = _write_data(folder / "data.npz", network, context, tuning, batch)
    job = {
        "task": task,
        "framework": network.framework,
        "architecture": json.loads(network.model.to_json()),
        "inputs": [{"name": spec.name, "shape": spec.shape} for spec in network.inputs],
        "outputs": [spec.name for spec in network.outputs],
        "transforms": {n: [t.scale, t.offset] for n, t in context.dataset.transforms.items()},
        "head": None if goal.head is None else asdict(goal.head),
        # Random inputs would spoil the statistics that the normalization layers hold.
        "freeze_normalization": context.dataset.source == "random",
        "seed": context.seed,
        "steps": steps,
        "batch_size": batch,
        "learning_rate": tuning.learning_rate,
        "params": dict(params),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    save_weights(folder / "weights.npz", bridge.read_weights(network.model))
    run_worker(folder, context, tuning.time_limit_s)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    changed = _with_weights(network, load_weights(folder / "result.npz"))
    notes = (*goal.notes, *_data_notes(context))
    return Result(network=changed, report=report, folder=folder, notes=notes)


def left_out_notes(report: Mapping[str, Any], what: str) -> list[str]:
    """One note a reason: the layers of `report["left_out"]`, a list of [layer, reason].

    what: "not pruned", "stays float": what became of them.
    """
    layers: dict[str, list[str]] = {}
    for name, reason in report["left_out"]:
        layers.setdefault(reason, []).append(f"'{name}'")
    return [f"{', '.join(names)}: {what}, {reason}." for reason, names in layers.items()]


def save_weights(path: Path, weights: Mapping[str, list[Array]]) -> None:
    """Weights by layer path as npz entries "<path>|<index>"."""
    flat = {f"{p}|{i}": array for p, arrays in weights.items() for i, array in enumerate(arrays)}
    path.write_bytes(npz_bytes(flat))


def load_weights(path: Path) -> dict[str, list[Array]]:
    """What `save_weights` wrote."""
    weights: dict[str, list[Array]] = {}
    for name, array in read_npz(path).items():
        weights.setdefault(name.rpartition("|")[0], []).append(array)
    return weights


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """What the fine-tune learns: labels by a head, or (None) the source network's outputs."""

    head: Head | None = None
    notes: tuple[str, ...] = ()


def _write_data(
    path: Path, network: KerasNetwork, context: Context, tuning: TuningParams, batch: int
) -> tuple[int, _Goal]:
    """Write inputs, targets and the probe; give the steps and what is learned."""
    data = context.dataset
    split = "train" if data.x_train else "test"
    total = data.train_samples if data.x_train else data.test_samples
    order = heldback.to_train(total, context.seed)
    steps = tuning.steps
    if tuning.epochs is not None:
        steps = math.ceil(tuning.epochs * len(order) / batch)
    rows = order[: steps * batch]
    stored = data.x_train if data.x_train else data.x_test
    labels = data.y_train if split == "train" else None
    probe_rows = np.resize(rows, network.inputs[0].shape[0] or PROBE_ROWS)
    probe = network.predict(data.real(split, probe_rows))
    goal = _goal(network, next(iter(probe.values())), labels)
    if goal.head is not None and labels is not None:
        targets = [labels[rows]]
    else:
        targets = list(context.source.predict(data.real(split, rows)).values())
    arrays = {f"x:{name}": array[rows] for name, array in stored.items()}
    arrays |= {f"y:{i}": array for i, array in enumerate(targets)}
    arrays |= {f"probe:{i}": array for i, array in enumerate(probe.values())}
    path.write_bytes(npz_bytes(arrays))
    return steps, goal


def _goal(network: KerasNetwork, sample: Array, labels: Array | None) -> _Goal:
    """Labels where they fit a single output, by the same rules as fine-tuning's."""
    if labels is None or len(network.outputs) != 1:
        return _Goal()
    try:
        head = describe(network.model.outputs[0], network.outputs[0].name, sample, labels)
    except EdgepackError as error:
        return _Goal(notes=(f"{error.what}: trained to give the source model's outputs instead.",))
    return _Goal(head=head)


def _data_notes(context: Context) -> tuple[str, ...]:
    if context.dataset.source == "random":
        return ("Fine-tuned on random inputs: give a dataset to recover quality.",)
    return ()


def _with_weights(network: KerasNetwork, weights: Mapping[str, list[Array]]) -> KerasNetwork:
    """A copy of the network with other weights."""
    import importlib

    keras = importlib.import_module(network.framework)
    model = keras.models.clone_model(network.model)
    bridge.write_weights(model, bridge.read_weights(network.model) | dict(weights))
    return replace(network, model=model)
