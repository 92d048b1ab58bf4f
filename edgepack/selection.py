"""What names mean: devices with their profiles, recipes, and budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack import config

if TYPE_CHECKING:
    from edgepack.model import Budget, Profile, Recipe
    from edgepack.plan import Target


def targets(
    patterns: Sequence[str], adapt: Callable[[Profile], Profile] = lambda profile: profile
) -> list[Target]:
    """The devices that the patterns select, each with its adapted profile. EP101, EP103."""
    from edgepack.plan import Target
    from edgepack.registry import Registry

    registry = Registry(config.devices_file())
    return [
        Target(device=device, profile=adapt(config.load_profile(device.profile)))
        for device in registry.select(list(patterns) or ["local"])
    ]


def recipes(names: Sequence[str]) -> list[Recipe]:
    """The recipes of those names or files. EP102."""
    from edgepack.compress.recipes import parse

    return [parse(name) for name in names]


def budgets(file: str | None, targets: Sequence[Target] = ()) -> tuple[Budget, ...]:
    """The budgets in that file; without one, those of the targets' profiles. EP106."""
    from edgepack.analysis import gate

    if file is not None:
        return gate.load(Path(file))
    limits = {t.profile.name: t.profile.budget for t in targets if t.profile.budget}
    return tuple(gate.from_profile(name, table) for name, table in limits.items())
