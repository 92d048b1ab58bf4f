"""The worker's main program: `python -m edgepack.compress.tfmot.worker FOLDER` (see `host`).

Importing TFMOT switches a whole process to Keras 2, so that it lives in this one alone.
Standard output carries progress as JSON lines, the log is on standard error, and the end of
standard input means that the host is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.compress import bridge
from edgepack.compress.tfmot import cluster, prune, qat
from edgepack.compress.tfmot.host import load_weights, save_weights
from edgepack.compress.tfmot.tuning import Work
from edgepack.compress.tfmot.unrolling import unrolled
from edgepack.compress.training.models import thaw
from edgepack.data.dataset import Array
from edgepack.data.npz import read_npz

# The bridge differs from Keras 3 by rounding alone (measured: 2.4e-7 on seven networks).
_PROBE_TOLERANCE = 1e-3

# Every task gets the work and gives the weights afterwards and its report.
TASKS: dict[str, Callable[[Work], tuple[dict[str, list[Array]], dict[str, Any]]]] = {
    "prune": prune.prune,
    "cluster": cluster.cluster,
    "qat": qat.train_quantized,
}


def main(folder: Path) -> None:
    """Do the job in the folder."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    threading.Thread(target=_end_with_host, daemon=True).start()
    progress = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is log, not progress
    import tensorflow as tf
    import tf_keras

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    tf_keras.utils.set_random_seed(job["seed"])
    tf.config.experimental.enable_op_determinism()
    work = Work(
        model=_open(tf_keras, job, load_weights(folder / "weights.npz")),
        job=job,
        data=read_npz(folder / "data.npz"),
        folder=folder,
        progress=progress,
    )
    _check(work)
    # Frozen layers are pruned, clustered and rounded too, so they must be able to recover.
    thaw(work.model)
    if job["freeze_normalization"]:
        for layer in work.model.layers:
            if "Normalization" in type(layer).__name__:
                layer.trainable = False
    weights, report = TASKS[job["task"]](work)
    save_weights(folder / "result.npz", weights)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _end_with_host() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock would stop the interpreter from ending
    os._exit(3)


def _open(tf_keras: Any, job: Mapping[str, Any], weights: dict[str, list[Array]]) -> Any:
    if job["framework"] == "tf_keras":
        model = unrolled(tf_keras.models.model_from_json(json.dumps(job["architecture"])))
    else:
        model = bridge.rebuild(job["architecture"])
    bridge.write_weights(model, weights)
    return model


def _check(work: Work) -> None:
    """The rebuilt model must compute what the source does, or it is another network."""
    expected = [work.data[f"probe:{number}"] for number in range(len(work.job["outputs"]))]
    rows = np.resize(np.arange(work.samples), len(expected[0]))
    outputs = work.model(work.inputs(rows), training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    for output, probe in zip(outputs, expected, strict=True):
        difference = float(np.abs(np.asarray(output) - probe).max())
        if not difference <= _PROBE_TOLERANCE:
            raise bridge.UnsupportedLayerError(f"its outputs differ by {difference:.2g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
