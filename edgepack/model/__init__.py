"""The nouns of edgepack: frozen values without I/O, shared by every other module.

Recipe -> Variant -> Package is what the host builds; Profile and Device say where it is
measured; Report (raw samples and the environment) is what an agent sends back; Run,
Comparison, Budget and Verdict are made from reports. Statistics are never stored here:
they are computed from the raw samples when they are read.

A noun's module is imported when the noun is first used (PEP 562): `device ls` needs two of
them, and making the classes of all takes longer than the rest of that command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepack.model.artifacts import (
        Agreement as Agreement,
        CalibrationSource as CalibrationSource,
        EvalData as EvalData,
        Package as Package,
        PassReport as PassReport,
        PassSpec as PassSpec,
        Recipe as Recipe,
        Release as Release,
        Signature as Signature,
        TensorSpec as TensorSpec,
        Transform as Transform,
        Variant as Variant,
    )
    from edgepack.model.conclusions import (
        Budget as Budget,
        Check as Check,
        Comparison as Comparison,
        Fleet as Fleet,
        Latency as Latency,
        Row as Row,
        Verdict as Verdict,
        VerdictStatus as VerdictStatus,
    )
    from edgepack.model.event import (
        Event as Event,
    )
    from edgepack.model.hardware import (
        Device as Device,
        Profile as Profile,
        RuntimeSpec as RuntimeSpec,
        is_accelerator as is_accelerator,
    )
    from edgepack.model.job import (
        Blob as Blob,
        Job as Job,
        JobSettings as JobSettings,
        Trust as Trust,
    )
    from edgepack.model.results import (
        Accelerator as Accelerator,
        Confusion as Confusion,
        CpuUse as CpuUse,
        Divergence as Divergence,
        Failure as Failure,
        Measurement as Measurement,
        OpTime as OpTime,
        Quality as Quality,
        Run as Run,
        Status as Status,
        SweepPoint as SweepPoint,
        Transfer as Transfer,
    )

# Where a noun is looked for: the lightest first. None of them imports one after it.
_MODULES = ("event", "hardware", "artifacts", "job", "results", "conclusions")


def __getattr__(name: str) -> Any:
    for module in _MODULES:
        found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
        if getattr(found, "__module__", "").startswith(__name__):
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
