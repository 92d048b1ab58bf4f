"""A profile: the keys of docs/profiles.md, as a dict."""

from __future__ import annotations

PROFILE = {
    "extends": "desktop",
    "title": "Fanless mini PC",
    "threads": 2,
    "probes": ["generic", "desktop", "uptime"],
    "notes": "Give it five minutes to cool down between runs.",
}
