"""Calibration where the data live: what a pass is told by devices whose data stay there.

The devices run the float file and tell the smallest and largest value of each activation; of the
samples nothing else leaves them. `edgepack.calibrating` talks to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepack.compress.calibration import Ranges
from edgepack.errors import EdgepackError
from edgepack.model import CalibrationSource


@dataclass(frozen=True, kw_only=True)
class DeviceRanges:
    """Ranges over the samples of all devices, and where they came from; notes: what a user
    should read before trusting them."""

    ranges: Ranges
    sources: tuple[CalibrationSource, ...]
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The sources in words."""
        listed = ", ".join(
            f"{one.samples} {one.split} samples on {one.device} ({one.runtime})"
            for one in self.sources
        )
        return f"Ranges by minmax of {listed}; quantized by ai-edge-quantizer."


class Calibrator(Protocol):
    """Devices with data of their own."""

    @property
    def data_digest(self) -> str:
        """What the ranges depend on besides file and samples: the devices and their data."""
        ...

    def ranges(self, content: bytes, *, samples: int, seed: int) -> DeviceRanges:
        """Ranges of a float file over up to `samples` samples of each device.

        Raises:
            EdgepackError: the error of the first device that fails, named in `where`.
        """
        ...


def unsuited(what: str, why: str) -> EdgepackError:
    """EP105: what cannot be calibrated by ranges that come from devices."""
    return EdgepackError(
        "EP105",
        f"{what} cannot be calibrated on devices: {why}",
        where="--calibrate-on-device",
        hint="Use 'int8', 'int16x8' or the pass 'quantize.rules', with their calibration 'minmax'.",
    )
