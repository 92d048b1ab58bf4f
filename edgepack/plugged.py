"""The plug-ins of all kinds, each tried in the way of its kind."""

from __future__ import annotations

from edgepack import added, config, plugins
from edgepack.compress import passes


def listing() -> list[plugins.Plugin]:
    """Every plug-in, with the reason where it cannot be used. Nothing of it is run."""
    return plugins.listing(
        {
            passes.GROUP: passes.load,
            config.PROFILES: config.plugged_profile,
            added.GROUP: added.source,
        }
    )
