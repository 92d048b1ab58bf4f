"""Is a device fit to measure on? One connection, one exec, then facts turned into checks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgepack import config
from edgepack.doctor import checks
from edgepack.doctor.checks import Finding, Level
from edgepack.errors import EdgepackError, unexpected
from edgepack.fleet.errand import Errand
from edgepack.fleet.messages import provisioned_path
from edgepack.model import Device, Profile
from edgepack.transport import events

__all__ = [
    "Diagnosis",
    "Finding",
    "Level",
    "diagnose",
    "diagnose_registered",
    "document",
    "rows",
]

_PINGS = 5
_PING_S = 15.0
_EXAMINE_S = 300.0  # importing NumPy and two runtimes takes a minute on a slow board


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found on one device. facts: as its agent sent them, {} when it was not reached."""

    device: Device
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """The worst finding."""
        return max((finding.level for finding in self.findings), default=Level.OK)


def diagnose(device: Device, profile: Profile, *, connect_timeout_s: float = 10.0) -> Diagnosis:
    """Ask the device how it is. Raises no Exception: what goes wrong is a finding."""
    try:
        with Errand(device, connect_timeout_s=connect_timeout_s) as errand:
            round_trip_s, skew_s = _time(errand)
            names = list(dict.fromkeys(runtime.name for runtime in profile.runtimes))
            errand.say(
                "doctor",
                runtimes=names,
                probes=list(profile.probes),
                sys_path=provisioned_path(device),
            )
            facts = errand.expect(events.Facts, _EXAMINE_S).facts
            errand.finish()
            arrived = checks.connected(device, round_trip_s, skew_s)
            return Diagnosis(
                device=device, findings=(*arrived, *checks.judge(facts, profile)), facts=facts
            )
    except EdgepackError as error:
        return Diagnosis(device=device, findings=checks.not_connected(error))
    except Exception as error:  # a net: no device's bug costs another one its findings
        return Diagnosis(device=device, findings=(checks.stopped("edgepack", unexpected(error)),))


def diagnose_registered(device: Device) -> Diagnosis:
    """As `diagnose`, by the profile that the registry names: one that is gone is a finding."""
    try:
        profile = config.load_profile(device.profile)
    except EdgepackError as error:
        named = f" Device '{device.name}' names it in {config.devices_file()}."
        finding = checks.stopped("profile", error)
        finding = replace(finding, todo=finding.todo + named)
        return Diagnosis(device=device, findings=(finding,))
    return diagnose(device, profile)


def _time(errand: Errand) -> tuple[float, float]:
    """The shortest round trip in seconds, and how far the device's clock is ahead of ours.

    The device's answer is taken to be from the middle of the round trip, as NTP does; of
    several the shortest trip has the least room for error.
    """
    trips = []
    for number in range(_PINGS):
        asked_at, began = time.time(), time.monotonic()
        errand.say("ping", n=number)
        pong = errand.expect(events.Pong, _PING_S)
        took = time.monotonic() - began
        trips.append((took, pong.time - (asked_at + took / 2)))
    return min(trips)


def document(diagnoses: list[Diagnosis]) -> dict[str, Any]:
    """The document of `device doctor --json`: schema/doctor.schema.json."""
    return {
        "schema": "edgepack.doctor/1",
        "status": max((each.level for each in diagnoses), default=Level.OK).name.lower(),
        "devices": [
            {
                "name": each.device.name,
                "profile": each.device.profile,
                "status": each.level.name.lower(),
                "checks": rows(each.findings),
                "facts": dict(each.facts),
            }
            for each in diagnoses
        ],
    }


def rows(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Findings as a document holds them."""
    return [
        {
            "check": finding.check,
            "found": finding.found,
            "todo": finding.todo,
            "status": finding.level.name.lower(),
        }
        for finding in findings
    ]
