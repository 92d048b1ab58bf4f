"""Which place a build measures in: the same only where the same board runs files alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgepack import inloop
from edgepack.model import Device, Profile, RuntimeSpec
from edgepack.plan import Target

RUNTIME = RuntimeSpec(name="ai-edge-litert", version="2.1.0")
PROFILE = Profile(name="pi5", title="Pi 5", arch=("aarch64",), runtimes=(RUNTIME,), threads=4)
DEVICE = Device(name="bench-1", profile="pi5", host="192.0.2.7", host_keys=("ssh-ed25519 AAAA",))


def place(device: Device = DEVICE, profile: Profile = PROFILE) -> str:
    other = Target(device=replace(DEVICE, name="another"), profile=PROFILE)
    targets = [Target(device=device, profile=profile), other]
    found = inloop.site(targets, emit=lambda event: None).device
    assert inloop.site(targets[::-1], emit=lambda event: None).device == found
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "bench-2"},
        {"host": "192.0.2.8"},
        {"host_keys": ("ssh-ed25519 BBBB",)},
        {"runtime": "ai-edge-litert==2.0.0", "runtime_digest": "ab"},
    ],
)
def test_another_board_is_another_place(changed: dict[str, Any]) -> None:
    assert place(replace(DEVICE, **changed)) != place()


@pytest.mark.parametrize(
    "changed", [{"threads": 1}, {"accelerator": "gpu"}, {"xnnpack": False}, {"runtimes": ()}]
)
def test_files_run_otherwise_are_another_place(changed: dict[str, Any]) -> None:
    assert place(profile=replace(PROFILE, **changed)) != place()


def test_what_decides_no_latency_does_not_count() -> None:
    renamed = replace(PROFILE, title="Raspberry Pi 5", notes="in the cellar", budget={"p95_ms": 3})
    assert place(replace(DEVICE, tags=("lab",), user="me"), renamed) == place()
