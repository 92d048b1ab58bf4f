"""Ranges of a float model's activations over data that live on this board and never leave it.

The smallest and largest value of each tensor are all that is told. Samples run one at a time on
the built-in kernels: a delegate would hide the tensors that it fuses.
"""

import time
import zipfile
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from edgepack_agent import boarddata, inputs, memory, runtimes
from edgepack_agent.errors import AgentError
from edgepack_agent.protocol import Writer
from edgepack_agent.runtimes.base import Config, Shape

PROGRESS_S = 1.0
_HINT = "Give the absolute path of an .npz with x_train or x_test that fits the model."

Ends = Tuple[float, float]


def survey(path: str) -> Dict[str, Any]:
    """What the file is, and how many samples there are to calibrate on: the training samples
    where there are any. AgentError EP301, EP302."""
    digest, size = boarddata.digest(path)
    try:
        split = _split(path)
        arrays, _, _ = inputs.evaluation(inputs.open_npz(path, split), {}, split)
    except AgentError as error:
        raise AgentError("EP302", error.what, error.hint) from None
    samples = min((len(array) for array in arrays.values()), default=0)
    if not samples:
        raise AgentError("EP302", "%s on the device has no samples" % path, _HINT)
    return {"sha256": digest, "bytes": size, "split": split, "samples": samples}


def _split(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            train = any(name.startswith("x_train") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise AgentError("EP302", "%.200s cannot be read: %s" % (path, error), _HINT) from None
    return "train" if train else "test"


def ranges(command: Dict[str, Any], writer: Writer) -> Dict[str, Any]:
    """The reply to `calibrate`: {"samples": how many were run, "ranges": [[tensor, low, high]]}.

    A tensor without elements is left out. AgentError EP303 (data that do not fit the model, or
    give NaN), EP502 (a model that does not load), EP505 (too little memory).
    """
    runtime = runtimes.create(command["runtime"])
    runtime.keep_all()
    runtime.open(command["model"], Config(command["threads"], "cpu", False, {}))
    samples = inputs.from_file(command["path"], runtime.inputs, {}, command["split"])
    _check(runtime.floats(), command["tensors"])
    runtime.fix_shapes(samples.shapes())
    rows = chosen(samples.count, command["samples"], command["seed"])
    found: Dict[int, Ends] = {}
    told = time.monotonic()
    for done, row in enumerate(rows):
        runtime.set_inputs(samples.get(row))
        runtime.invoke()
        for slot in command["tensors"]:
            _widen(found, slot, runtime.value(slot))
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            writer.send({"event": "progress", "done": done + 1, "total": len(rows)})
    return {"samples": len(rows), "ranges": [[slot, *ends] for slot, ends in found.items()]}


def chosen(total: int, most: int, seed: int) -> List[int]:
    """Up to `most` sample numbers, in order: those that the host would choose of `total`."""
    order = np.random.default_rng(seed).permutation(total)
    return [int(row) for row in np.sort(order[:most])]


def _check(floats: Dict[int, Shape], tensors: Sequence[int]) -> None:
    """AgentError EP105 for what is no float tensor; EP505 where all do not fit into memory, as an
    inference alone would, which uses it again and again."""
    for slot in tensors:
        if slot not in floats:
            raise AgentError(
                "EP105",
                "tensor %d is none of the model's float tensors" % slot,
                "Use the agent that comes with this edgepack.",
            )
    free = memory.available_bytes()
    needed = sum(4 * int(np.prod(floats[slot])) for slot in tensors)
    if free is not None and needed > free:
        raise AgentError(
            "EP505",
            "to keep all tensors takes %d MB and %d MB are free" % (needed >> 20, free >> 20),
            "Calibrate on a board with more memory, or on this host with its own data.",
        )


def _widen(found: Dict[int, Ends], slot: int, values: np.ndarray) -> None:
    """Let the tensor's range hold these values too. AgentError EP303 for NaN and infinities."""
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AgentError(
            "EP303",
            "the device's data give tensor %d values that are no finite numbers" % slot,
            "Look for NaN and for a missing scale in the data on the device.",
        )
    ends = found.get(slot, (low, high))
    found[slot] = min(low, ends[0]), max(high, ends[1])
