"""Where the files that edgepack ships are: the agent, the profiles and the demo.

In a checkout they are the top-level folders; in an installed wheel they lie inside the
package, under `_bundled`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(bundled: str, checkout: str) -> Path:
    inside = _PACKAGE / "_bundled" / bundled
    return inside if inside.is_dir() else _PACKAGE.parent / checkout


def agent_source() -> Path:
    """The folder of the agent's package, `edgepack_agent`."""
    return _find("edgepack_agent", "device_agents/edgepack_agent")


def profiles_dir() -> Path:
    """The folder of the shipped profiles, one `.toml` each."""
    return _find("profiles", "profiles")


def demo_dir() -> Path:
    """The folder of the demo's model and data."""
    return _find("demo", "examples/demo")
