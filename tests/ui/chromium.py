"""What tests ask of a real Chromium: its requests, its log, and axe's findings."""

from __future__ import annotations

import json
from pathlib import Path


def events(browser, method: str) -> list[dict]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"] for message in messages if message["method"] == method]


def requests(browser) -> list[str]:
    return [found["request"]["url"] for found in events(browser, "Network.requestWillBeSent")]


def serious(browser) -> list[tuple[str, str]]:
    """The findings of axe that are serious or critical, each with where it was found."""
    import axe_core_python

    script = Path(axe_core_python.__file__).parent / "axe.min.js"
    browser.execute_script(script.read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
        ".then((result) => done(result.violations), (error) => done(String(error)));"
    )
    assert isinstance(found, list), found
    return [
        (rule["id"], node["html"][:200])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
