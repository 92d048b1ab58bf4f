"""The frame of every HTML page: one file that opens offline and asks nothing of any network.

Everything is inline: style, a few lines of script for sorting and filtering, charts as SVG, raw
data as `data:` links. The page's content security policy allows exactly that style and that
script (by their hashes) and no request at all, so that even a name that slipped through the
escaping could load nothing and run nothing.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from importlib import resources
from typing import Any

from edgepack.report.document import finite


def render(template: str, **facts: object) -> str:
    """A template of `templates/` with these facts, all of them escaped but `Markup`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("edgepack.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    style, script = _asset("report.css"), _asset("report.js")
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704  (ours, and must not be escaped)
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        **facts,
    )


def encoded(value: Any) -> bytes:
    """A value as JSON; what is no number becomes null."""
    return json.dumps(finite(value), allow_nan=False, separators=(",", ":")).encode()


def as_link(data: bytes) -> str:
    """Bytes for a `data:` link."""
    return base64.b64encode(data).decode()


def file_name(name: str) -> str:
    """A name that a download may have."""
    return "".join(c for c in name if c.isalnum() or c == "-")[:60]


def _asset(name: str) -> str:
    file = resources.files("edgepack.report") / "templates" / name
    return file.read_text(encoding="utf-8").strip()


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(sha256(content.encode()).digest()).decode()
