"""Only like is compared with like: what two measurements do not share.

A difference of profile, runtime, governor, emulator or evaluation set makes two times, or two
qualities, answers to different questions: such a pair is not compared, and the table says
which difference it was. Threads and the accelerator may differ between variants of one run
(an int8 file on the NPU, the float one beside it on the CPU: that is what would be shipped),
so there they are only said; between runs they hold a comparison back as well, unless the user
names the difference as the one to be looked at (`compare --across threads`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgepack.model import Measurement, Package

#: What may be compared across when the user asks for it.
DIMENSIONS = ("runtime", "threads", "accelerator", "governor", "profile")
#: Flags of the agent's probes.
EMULATED = "emulated"
SOFTWARE_GPU = "software-gpu"
_SAID_WITHIN_A_RUN = frozenset({"threads", "accelerator"})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that two measurements do not share, with both values in words."""

    what: str
    here: str
    there: str

    def __str__(self) -> str:
        if self.what in ("inputs", "evaluation set"):
            return f"other {self.what}"
        return f"{self.what} {self.there} instead of {self.here}"


def differences(base: Measurement, other: Measurement) -> tuple[Difference, ...]:
    """Everything that `other` does not share with `base`, as far as both tell."""
    pairs = (
        ("profile", base.profile, other.profile),
        ("runtime", runtime(base), runtime(other)),
        ("governor", governor(base), governor(other)),
        ("emulator", _emulator(base), _emulator(other)),
        ("mode", base.mode, other.mode),
        ("batch", str(base.batch), str(other.batch)),
        ("threads", str(base.threads), str(other.threads)),
        ("accelerator", accelerator(base), accelerator(other)),
        ("inputs", base.inputs_sha256, other.inputs_sha256),
    )
    return tuple(
        Difference(what=what, here=here, there=there)
        for what, here, there in pairs
        if here is not None and there is not None and here != there
    )


def evaluation(base: Package, other: Package) -> tuple[Difference, ...]:
    """The difference of two packages' evaluation sets, none when they are the same files."""
    here, there = (package.data.sha256 if package.data else "none" for package in (base, other))
    if here == there:
        return ()
    return (Difference(what="evaluation set", here=here[:12], there=there[:12]),)


def within_a_run(base: Measurement, other: Measurement) -> tuple[Difference, ...]:
    """What keeps two variants of one run on one device from being compared."""
    found = differences(base, other)
    return tuple(each for each in found if each.what not in _SAID_WITHIN_A_RUN)


def said(found: Iterable[Difference]) -> str:
    """The differences in words, "" for none."""
    return ", ".join(str(each) for each in found)


def is_emulated(measurement: Measurement) -> bool:
    """Whether the device, or the accelerator it used, is an emulator."""
    flagged = EMULATED in measurement.flags or SOFTWARE_GPU in measurement.flags
    return flagged or bool(measurement.environment.get("emulator"))


def runtime(measurement: Measurement) -> str | None:
    """ "ai-edge-litert 2.3.0", with "/compiled" or "/c" after the name where that interface was
    used; None where it is not known."""
    found = measurement.runtime
    if found is None:
        return None
    plain = found.api in (None, "interpreter")
    name = found.name if plain else f"{found.name}/{found.api}"
    return f"{name} {found.version or ''}".strip()


def accelerator(measurement: Measurement) -> str:
    """The accelerator in use; the CPU without XNNPACK is another one than with it."""
    used = measurement.accelerator
    return used.actual if used.xnnpack else f"{used.actual} without XNNPACK"


def governor(measurement: Measurement) -> str | None:
    """The frequency governor, None where the board tells none."""
    found = measurement.environment.get("governor")
    return found if isinstance(found, str) and found else None


def setting(measurement: Measurement) -> str:
    """ "ai-edge-litert 2.3.0, cpu, 1 thread": what the times belong to."""
    threads = f"{measurement.threads} thread{'s' * (measurement.threads != 1)}"
    return (
        f"{runtime(measurement) or 'unknown runtime'}, {measurement.accelerator.actual}, {threads}"
    )


def _emulator(measurement: Measurement) -> str:
    named = measurement.environment.get("emulator")
    if isinstance(named, str) and named:
        return named
    return "emulated" if is_emulated(measurement) else "none"
