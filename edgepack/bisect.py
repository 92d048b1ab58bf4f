"""The first operation at which a device and the host compute something else.

The model is sent once more, with the results of its operations as outputs, and one sample is
run through it there and here. As many results as one session may bring are compared at a
time; where there are more, the stretch in which the difference begins is looked at again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgepack import codec, fleet
from edgepack.compress import checking
from edgepack.compress.exposing import Exposable
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError
from edgepack.model import Blob, Divergence, Event, Job

Emit = Callable[[Event], None]

PASS_BYTES = 16 * 2**20
"""Of results in one session, which may bring 32 MiB."""
TENSOR_BYTES = 5 * 2**20
"""Largest result that fits into one event of 8 MiB in base64, should it not compress."""
ROUNDING_STEPS = 1
"""Kernels that round differently are one step of the number format apart."""
ROUNDING_SHARE = 1e-4
"""For float: of the tensor's largest value. Sums of a few thousand products in another order
differ by less."""
_TIMEOUT_S = 120.0


def first_difference(
    job: Job, variant: str, file: Path, inputs: Mapping[str, Array], *, emit: Emit
) -> Divergence | None:
    """Where `variant` begins to differ on the job's device; None where nothing does.

    The first result that differs by more than rounding, else the first that differs at all.
    `file`: the variant's model; `inputs`: real values of the first evaluation sample.

    Errors: EP205, EP502 and what the device's session may end with.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        bench = _Bench(job, variant, file, inputs, Path(scratch), emit)
        stretch = [each for each in bench.listed() if each.bytes <= TENSOR_BYTES]
        while stretch:
            chosen = _spread(stretch)
            found = bench.compare(chosen)
            if found is None or len(chosen) == len(stretch):
                return found
            at = next(i for i, each in enumerate(stretch) if each.op >= found.op)
            before = [i for i, each in enumerate(stretch[:at]) if each in chosen]
            narrower = stretch[(before[-1] + 1 if before else 0) : at + 1]
            if len(narrower) == 1:
                return found
            stretch = narrower
    return None


def _spread(stretch: Sequence[Exposable]) -> list[Exposable]:
    """As many as fit into one session, evenly over the stretch, with its last."""
    step = 1
    while True:
        chosen = list(stretch[::-1][::step])[::-1]
        if len(chosen) == 1 or sum(each.bytes for each in chosen) <= PASS_BYTES:
            return chosen
        step += 1


class _Bench:
    """One variant on one device, again and again with other outputs."""

    def __init__(
        self,
        job: Job,
        variant: str,
        file: Path,
        inputs: Mapping[str, Array],
        scratch: Path,
        emit: Emit,
    ) -> None:
        self._job = job
        self._variant = next(each for each in job.variants if each.name == variant)
        self._file = file
        self._inputs = {name: array[:1] for name, array in inputs.items()}
        self._scratch = scratch
        self._emit = emit

    def listed(self) -> list[Exposable]:
        """What can be compared."""
        report = self._scratch / "list.json"
        self._expose([str(self._file), str(report)])
        return [codec.from_json(Exposable, each) for each in json.loads(report.read_text())]

    def _expose(self, arguments: list[str]) -> None:
        done = checking.run_module("edgepack.compress.exposing", arguments, _TIMEOUT_S)
        if done.returncode != 0:
            raise EdgepackError(
                "EP205",
                f"The file's operations cannot be taken apart: {checking.reason(done)}",
                hint="Leave --bisect out for this model.",
            )

    def compare(self, chosen: Sequence[Exposable]) -> Divergence | None:
        """The first of these results that differs."""
        file = self._scratch / "exposed.tflite"
        indices = ",".join(str(each.tensor) for each in chosen)
        self._expose([str(self._file), "", str(file), indices])
        theirs = self._on_device(file)
        ours = checking.run(file, self._inputs, self._scratch).outputs
        found = [
            divergence
            for each in chosen
            if (divergence := difference(each, ours[str(each.tensor)], theirs[str(each.tensor)]))
        ]
        beyond = [each for each in found if each.beyond_rounding]
        return next(iter(beyond or found), None)

    def _on_device(self, file: Path) -> Mapping[str, Array]:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        variant = dataclasses.replace(self._variant, sha256=digest, bytes=len(content))
        assert self._job.data is not None
        data = next(blob for blob in self._job.blobs if blob.sha256 == self._job.data.sha256)
        job = dataclasses.replace(
            self._job,
            variants=(variant,),
            blobs=(Blob(sha256=digest, bytes=len(content), path=str(file)), data),
            data=dataclasses.replace(self._job.data, task="none"),
            settings=dataclasses.replace(
                self._job.settings,
                mode="latency",
                batch=1,
                sweep_threads=(),
                stable_s=None,
                launches=1,
                warmup_s=0.0,
                warmup_max_s=0.0,
                min_rounds=1,
                max_s=0.05,
                parity_samples=1,
                profile_ops=False,
            ),
        )
        (report,) = fleet.run_jobs([job], emit=self._emit)
        failure = report.failure or report.measurements[0].failure
        if failure is not None:
            raise EdgepackError(failure.code, failure.what, hint=failure.hint)
        return report.outputs[variant.name]


def difference(what: Exposable, ours: Array, theirs: Array) -> Divergence | None:
    """How one result differs, None when it does not. ours: real; theirs: as stored."""
    real = theirs.astype(np.float64).reshape(ours.shape)
    if what.scale:
        real = (real - what.zero_point) * what.scale
    gap = float(np.abs(ours.astype(np.float64) - real).max(initial=0.0))
    steps = round(gap / what.scale) if what.scale else None
    # Real values of an integer are float32: equal steps may be a last bit apart.
    if steps == 0 or gap == 0.0:
        return None
    largest = float(np.abs(ours).max(initial=0.0))
    rounding = ROUNDING_SHARE * largest if steps is None else ROUNDING_STEPS * what.scale * 1.001
    return Divergence(
        op=what.op,
        kind=what.kind,
        tensor=what.name,
        max_abs_diff=gap,
        max_steps=steps,
        beyond_rounding=not gap <= rounding,
    )
