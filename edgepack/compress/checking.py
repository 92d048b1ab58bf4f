"""Nothing counts before it has been loaded and run: the file against the source network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepack import codec
from edgepack.compress.inspect import Summary
from edgepack.data.dataset import Array
from edgepack.data.npz import npz_bytes, read_npz
from edgepack.errors import EdgepackError
from edgepack.model import Agreement

# Float conversion only reorders sums: real nets give 100 dB and more, a wrong one below 20.
FLOAT_SNR_DB = 40.0
_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file that loads: what is in it, and its outputs by name where inputs were given."""

    summary: Summary
    outputs: Mapping[str, Array]


def run(model: Path, inputs: Mapping[str, Array] | None, workdir: Path) -> Checked:
    """Load and run the file in a child process. EP205 with the reason when that fails."""
    source, target, report = (workdir / name for name in ("in.npz", "out.npz", "report.json"))
    if inputs is not None:
        source.write_bytes(npz_bytes(inputs))
    arguments = [str(model), "-" if inputs is None else str(source), str(target), str(report)]
    done = run_module("edgepack.compress.runner", arguments, _TIMEOUT_S)
    if done.returncode != 0:
        raise EdgepackError(
            "EP205",
            f"The file does not run: {reason(done)}",
            hint="Use another recipe, or check the file with the runtime that made it.",
        )
    summary = codec.from_json(Summary, json.loads(report.read_text(encoding="utf-8")))
    outputs: dict[str, Array] = {}
    if inputs is not None:
        outputs = read_npz(target)
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise EdgepackError(
                "EP205",
                "The file runs, but gives NaN or infinite outputs",
                hint="Check the source model's outputs on the same data, or use another recipe.",
            )
    return Checked(summary=summary, outputs=outputs)


def run_module(
    module: str, arguments: list[str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments` with this edgepack importable; a timeout is code -SIGKILL."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        return subprocess.run(
            command,
            env=child_environment(),
            timeout=timeout_s,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"it took more than {timeout_s:.0f} s"
        return subprocess.CompletedProcess(command, -signal.SIGKILL, "", reason)


def child_environment() -> dict[str, str]:
    """This process's environment, with this edgepack importable and TensorFlow silent."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a child failed: the last line of its log, or the signal that ended it."""
    last = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
    if done.returncode < 0 and "took more than" not in last:
        return f"reading it crashed with {signal.Signals(-done.returncode).name}"
    return last


def agreement(reference: Mapping[str, Array], outputs: Mapping[str, Array]) -> Agreement:
    """How near `outputs` are to `reference`, by name, over all their elements.

    Top-1 is for a single output of [samples, classes] with two or more classes.
    """
    if reference.keys() != outputs.keys():
        raise EdgepackError(
            "EP205",
            f"Outputs are named {sorted(outputs)}, the source's {sorted(reference)}",
            hint="Give each output layer of the model a name of its own.",
        )
    expected = [reference[name].astype(np.float64) for name in reference]
    got = [outputs[name].astype(np.float64).reshape(reference[name].shape) for name in reference]
    noise = sum(float(np.square(e - g).sum()) for e, g in zip(expected, got, strict=True))
    power = sum(float(np.square(e).sum()) for e in expected)
    top1 = None
    if len(expected) == 1 and expected[0].ndim == 2 and expected[0].shape[1] > 1:
        top1 = float((expected[0].argmax(axis=1) == got[0].argmax(axis=1)).mean())
    return Agreement(
        samples=len(expected[0]),
        top1_agreement=top1,
        max_abs_diff=max(float(np.abs(e - g).max()) for e, g in zip(expected, got, strict=True)),
        # 1e-30 keeps the ratio finite for a source that only gives zeros.
        snr_db=None if noise == 0 else float(10 * np.log10((power + 1e-30) / noise)),
    )


def quality(outputs: Mapping[str, Array], labels: Array | None, task: str) -> float | None:
    """Accuracy (classification) or mean absolute error (regression); None without labels."""
    if labels is None or len(outputs) != 1:
        return None
    output = next(iter(outputs.values()))
    labels = labels[: len(output)]
    if task == "regression":
        same_size = output.size == labels.size
        return float(np.abs(output.reshape(labels.shape) - labels).mean()) if same_size else None
    if output.ndim != 2:
        return None
    guess = output.argmax(axis=1) if output.shape[1] > 1 else (output[:, 0] > 0.5)
    return float((guess == labels).mean())
