"""Bringing a runtime to a device that has no network, no pip and no root.

The wheels are resolved here for what the device says of itself, pushed by their SHA-256 like
any blob, and unpacked by the agent into a folder of its home that jobs put on `sys.path`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepack import wheels
from edgepack.doctor import Diagnosis, Level, diagnose
from edgepack.errors import CATALOGUE, EdgepackError
from edgepack.fleet.errand import Errand
from edgepack.fleet.messages import owner
from edgepack.model import Blob, Device, Profile, RuntimeSpec
from edgepack.transport import events

_WAIT_S = 60.0
_UNPACK_S = 900.0  # a Pi Zero takes minutes to unpack and compile NumPy

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """What a device has now. device: with the runtime recorded; fresh: it was not there before."""

    device: Device
    packages: tuple[str, ...]
    sent_bytes: int
    fresh: bool


def provision(
    device: Device, profile: Profile, *, runtime: str | None, cache: Path, say: Say
) -> Provisioned:
    """Bring the device the first of the profile's runtimes that has wheels for it.

    runtime: "NAME" or "NAME==VERSION" instead of the profile's. Nothing is recorded here.

    Raises:
        EdgepackError: EP405 when no runtime fits, with the reason of each and what would fit;
            what `Errand` raises.
    """
    facts = _facts(device, profile)
    target = wheels.target_of(facts)
    say(f"{device.name}: {target}")
    numpy = wheels.numpy_of(facts)
    requirement, found = _resolve(_wanted(profile, runtime), target, numpy, cache, say)
    digest = wheels.digest_of(found)
    sent, fresh = _push(device, requirement, digest, found)
    chosen = next(
        wheel.distribution
        for wheel in found
        if wheel.distribution.partition("==")[0] == requirement.partition("==")[0]
    )
    return Provisioned(
        device=replace(device, runtime=chosen, runtime_digest=digest),
        packages=tuple(wheel.distribution for wheel in found),
        sent_bytes=sent,
        fresh=fresh,
    )


def _facts(device: Device, profile: Profile) -> dict[str, Any]:
    """What the device says of itself, without what an earlier provisioning brought."""
    plain = replace(device, runtime=None, runtime_digest=None)
    diagnosis: Diagnosis = diagnose(plain, profile)
    if not diagnosis.facts:
        failed = next(each for each in diagnosis.findings if each.level is Level.FAIL)
        code, _, what = failed.found.partition(": ")
        if code not in CATALOGUE:  # it was reached, and said nothing
            code, what = "EP501", "The device says nothing of itself."
        raise EdgepackError(code, what, where=device.name, hint=failed.todo)
    return dict(diagnosis.facts)


def _wanted(profile: Profile, runtime: str | None) -> list[str]:
    if runtime is not None:
        return [runtime]
    return [_requirement(spec) for spec in profile.runtimes]


def _requirement(spec: RuntimeSpec) -> str:
    return f"{spec.name}=={spec.version}" if spec.version else spec.name


def _resolve(
    wanted: list[str], target: wheels.Target, numpy: str | None, cache: Path, say: Say
) -> tuple[str, tuple[wheels.Wheel, ...]]:
    """The first of the wanted requirements that has wheels, and those. EP405."""
    reasons = []
    for requirement in wanted:
        try:
            return requirement, wheels.resolve(requirement, target, cache=cache, numpy=numpy)
        except wheels.NoWheelError as error:
            reasons.append(f"{requirement}: {error}")
            say(f"{requirement} has no wheels for it")
    fits = []
    for requirement in wanted:
        near = wheels.what_would_fit(requirement, target)
        fits += [f"{requirement} with {' or '.join(near)}"] if near else []
    raise EdgepackError(
        "EP405",
        f"No runtime has wheels for {target}. {'; '.join(reasons)}",
        hint=f"What would fit: {'; '.join(fits)}."
        if fits
        else "Install a runtime that you built yourself: edgepack uses what it finds.",
    )


def _push(
    device: Device, requirement: str, digest: str, found: tuple[wheels.Wheel, ...]
) -> tuple[int, bool]:
    """Bytes sent, and whether the runtime was unpacked anew."""
    blobs = [Blob(sha256=each.sha256, bytes=each.bytes, path=each.path) for each in found]
    with Errand(device) as errand:
        errand.say(
            "provision",
            schema="edgepack.provision/1",
            owner=owner(),
            wait_s=_WAIT_S,
            runtime=requirement.partition("==")[0],
            digest=digest,
            wheels=[
                {"name": each.file, "sha256": each.sha256, "bytes": each.bytes} for each in found
            ],
        )
        sent = errand.push(blobs, _WAIT_S)
        answer = errand.expect(events.Provisioned, _WAIT_S + _UNPACK_S)
        errand.finish()
    return sent, answer.fresh
