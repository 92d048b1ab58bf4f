"""Which runtime and accelerator a command asks for, whatever the profile says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.errors import EdgepackError

if TYPE_CHECKING:
    from edgepack.model import Profile, RuntimeSpec


def adapted(
    profile: Profile,
    *,
    runtime: str | None,
    accelerator: str | None,
    xnnpack: bool | None,
    delegate_options: Sequence[str],
) -> Profile:
    """The profile with what was asked for in its place; None keeps the profile's own.

    Raises:
        EdgepackError: EP105, no such accelerator or interface, or an option that would have
            no effect.
    """
    from edgepack.config import check_accelerator

    if runtime is not None:
        profile = dataclasses.replace(profile, runtimes=(_runtime(runtime),))
    if accelerator is not None:
        profile = dataclasses.replace(profile, accelerator=accelerator, delegate_options={})
    if xnnpack is not None:
        profile = dataclasses.replace(profile, xnnpack=xnnpack)
    if delegate_options:
        options = dict(_pair(option) for option in delegate_options)
        profile = dataclasses.replace(profile, delegate_options=options)
    check_accelerator(profile)
    return profile


def _runtime(text: str) -> RuntimeSpec:
    from edgepack.model import RuntimeSpec

    wanted, _, version = text.partition("==")
    name, _, api = wanted.partition("/")
    return RuntimeSpec(name=name, version=version or None, api=api or None, exact=bool(version))


def _pair(option: str) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not key or not equals or not value:
        raise EdgepackError(
            "EP105",
            f"'{option}' is not KEY=VALUE",
            where="--delegate-option",
            hint="For example --delegate-option device=usb.",
        )
    return key, value
