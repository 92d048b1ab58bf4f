"""Does the device compute what the host computes? The same file, the same inputs, both outputs.

The host's half is computed once a variant, in a child process, when the first device's
outputs arrive. What differs is recorded in every measurement (`Measurement.parity`) and, when
it is more than rounding, flagged: another kernel on the board can be right for its speed and
wrong for its answers.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgepack import package as packages
from edgepack.analysis import resampling
from edgepack.analysis.bench import OUTPUTS_DIFFER
from edgepack.compress import checking
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError
from edgepack.model import Agreement, Measurement, Package, Quality, Status, Transform, Variant

UNCHECKED = "outputs-unchecked"
_SOURCE = "float"
# One step of an 8-bit output is 48 dB below its range; kernels that round differently stay
# above 30 dB on real nets, wrong ones fall below 20.
ENOUGH_SNR_DB = 25.0


class Reference:
    """The host's outputs of a package's variants on its first evaluation samples.

    alike: samples by which quality is judged where there are no labels, if these are more; only
    the float variant is run on so many here.
    """

    def __init__(self, package: Package, directory: Path, samples: int, alike: int = 0) -> None:
        self._package = package
        self._directory = directory
        self._samples = samples
        self._alike = max(samples, alike)
        self._outputs: dict[str, Mapping[str, Array] | None] = {}
        self._labelled = package.data is not None and package.data.task != "none"

    def with_parity(
        self,
        measurements: Iterable[Measurement],
        outputs: Mapping[str, Mapping[str, Array]],
    ) -> list[Measurement]:
        """The measurements, each good one compared with the host's outputs or so flagged."""
        return [self._compared(m, outputs.get(m.variant, {})) for m in measurements]

    def _compared(self, measured: Measurement, outputs: Mapping[str, Array]) -> Measurement:
        if measured.status is not Status.OK:
            return measured
        variant = self._package.variant(measured.variant)
        if measured.quality is None and not self._labelled:
            measured = dataclasses.replace(measured, quality=self._likeness(variant, outputs))
        parity = self._parity(variant, outputs) if outputs else None
        if parity is None:
            return dataclasses.replace(measured, flags=(*measured.flags, UNCHECKED))
        flags = measured.flags if near(parity) else (*measured.flags, OUTPUTS_DIFFER)
        return dataclasses.replace(measured, parity=parity, flags=flags)

    def _parity(self, variant: Variant, outputs: Mapping[str, Array]) -> Agreement | None:
        reference = self._host_outputs(variant)
        if reference is None:
            return None
        reference, real = _same_rows(reference, real_values(variant, outputs))
        try:
            agreed = checking.agreement(reference, real)
            return dataclasses.replace(agreed, max_steps=_steps(variant, reference, real))
        except (EdgepackError, ValueError):
            return None  # other names or shapes than the host's: nothing to compare

    def _likeness(self, variant: Variant, outputs: Mapping[str, Array]) -> Quality | None:
        """Without labels: how near the device's outputs are to the float variant's here."""
        source = next((v for v in self._package.variants if v.name == _SOURCE), None)
        reference = self._host_outputs(source) if source and outputs else None
        if reference is None:
            return None
        reference, real = _same_rows(reference, real_values(variant, outputs))
        try:
            return resampling.likeness(reference, real, checking.agreement(reference, real))
        except (EdgepackError, ValueError):
            return None

    def _host_outputs(self, variant: Variant) -> Mapping[str, Array] | None:
        if variant.sha256 not in self._outputs:
            file = self._directory / packages.variant_file(variant.name)
            with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
                try:
                    samples = self._alike if variant.name == _SOURCE else self._samples
                    done = checking.run(file, self.inputs(samples), Path(scratch))
                    self._outputs[variant.sha256] = done.outputs
                except EdgepackError:
                    # The device ran it and the host cannot: its custom op, say.
                    self._outputs[variant.sha256] = None
        return self._outputs[variant.sha256]

    def inputs(self, samples: int | None = None) -> dict[str, Array]:
        """Real values of the first evaluation samples. EP302 without data, EP208 damaged ones."""
        data = self._package.data
        if data is None:
            raise EdgepackError("EP302", "the package has no data", hint="Build it again.")
        stored = {
            name.removeprefix("x:"): array[: self._samples if samples is None else samples]
            for name, array in packages.evaluation(self._directory).items()
            if name.startswith("x:")
        }
        return {name: _applied(array, data.transforms.get(name)) for name, array in stored.items()}


def _same_rows(
    reference: Mapping[str, Array], real: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Both with as many samples as each of their outputs has."""
    rows = min(len(array) for array in (*reference.values(), *real.values()))
    return (
        {name: array[:rows] for name, array in reference.items()},
        {name: array[:rows] for name, array in real.items()},
    )


def real_values(variant: Variant, outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a device, dequantized as the variant's signature says."""
    return {name: _real(array, variant, name) for name, array in outputs.items()}


def _steps(
    variant: Variant, reference: Mapping[str, Array], real: Mapping[str, Array]
) -> int | None:
    """The largest difference in steps of a quantized output; None without one."""
    scales = {spec.name: spec.scale for spec in variant.signature.outputs if spec.scale}
    found = [
        round(float(np.abs(reference[name] - real[name].reshape(reference[name].shape)).max()) / s)
        for name, s in scales.items()
        if name in real
    ]
    return max(found, default=None)


def near(parity: Agreement) -> bool:
    """Whether two outputs of the same file differ by no more than rounding does."""
    return parity.snr_db is None or parity.snr_db >= ENOUGH_SNR_DB


def _applied(stored: Array, transform: Transform | None) -> Array:
    if transform is None:
        return stored
    real: Array = stored.astype(np.float32) * np.float32(transform.scale)
    return real + np.float32(transform.offset)


def _real(stored: Array, variant: Variant, name: str) -> Array:
    """Real values of an output as it came from the device."""
    outputs: Sequence[str] = [spec.name for spec in variant.signature.outputs]
    spec = variant.signature.outputs[outputs.index(name)] if name in outputs else None
    if spec is None or not spec.scale:
        return stored
    return (stored.astype(np.float32) - np.float32(spec.zero_point or 0)) * np.float32(spec.scale)
