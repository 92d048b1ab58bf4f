"""Where variants are to run, as far as building them depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepack.compress.on_devices import Calibrator


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the variants are to run, as far as building them depends on it.

    profile: values of the hardware profile that passes may take as defaults.
    device, measure: all that decides a latency there, as one text for the cache's keys; and
    what tells the p50 latency in seconds of a `.tflite` there.
    has_data: the user's data are there and not here; calibrator: what tells ranges over them.
    """

    profile: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    measure: Callable[[bytes], float] | None = None
    has_data: bool = False
    calibrator: Calibrator | None = None
