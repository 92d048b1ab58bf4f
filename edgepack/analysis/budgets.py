"""Budget files: limits per device, tag or profile, in TOML.

```toml
[budget.pi4]              # a device, "tag:lab", "profile:raspberry-pi-4" or "*"
variant = "int8"          # optional: the variant that must meet them, else the recommended one
latency_p90_ms = 5.0
quality_drop = 0.01       # absolute, against the baseline variant
bytes = 100_000
accelerated_share = 0.9   # of the ops, on the accelerator asked for; 1.0 unless said otherwise
latency_p90_regression = 0.05   # against the baseline: at most 5% slower
accelerator = "gpu"       # must have run it
```
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from edgepack.analysis.limits import ACCELERATED, LIMITS
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Budget, is_accelerator

_HINT = "A budget is a table: [budget.pi4] with limits such as latency_p90_ms = 5.0."


def load(path: str | Path) -> tuple[Budget, ...]:
    """The budgets of a TOML file, in its order.

    Raises:
        EdgepackError: EP106, the file cannot be read, is not TOML, or holds something that is
            not a limit; `where` names the file and, where known, the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        _refuse(f"cannot read the budget: {error.strerror}", str(path), "Check the path.")
    except UnicodeDecodeError:
        _refuse("the budget is not UTF-8 text", str(path), _HINT)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        _refuse(f"the budget is not valid TOML: {error}", where, _HINT)
    return _budgets(document, text, str(path))


def from_profile(profile: str, limits: Mapping[str, float]) -> Budget:
    """The default budget of a hardware profile.

    Raises:
        EdgepackError: EP106, the profile holds a name that is not a limit.
    """
    return _budget(f"profile:{profile}", dict(limits), "", f"profile {profile}")


def _budgets(document: dict[str, Any], text: str, path: str) -> tuple[Budget, ...]:
    for key in document:
        if key != "budget":
            where = _place(path, text, None, key)
            _refuse(f"unknown table or key '{key}'", where, did_you_mean(key, ["budget"]))
    tables = document.get("budget")
    if not isinstance(tables, dict) or not tables:
        _refuse("the file holds no budget", path, _HINT)
    for selector, table in tables.items():
        if not isinstance(table, dict):
            _refuse(f"budget.{selector} is not a table", _place(path, text, None, selector), _HINT)
    return tuple(_budget(selector, table, text, path) for selector, table in tables.items())


def _budget(selector: str, table: dict[str, Any], text: str, path: str) -> Budget:
    limits = dict(table)
    names = {}
    for key, example in (("variant", "int8"), ("accelerator", "gpu")):
        names[key] = limits.pop(key, None)
        if names[key] is not None and not isinstance(names[key], str):
            where = _place(path, text, selector, key)
            _refuse(
                f"a budget's {key} is a name in quotes", where, f'For example {key} = "{example}".'
            )
    for name, value in limits.items():
        where = _place(path, text, selector, name)
        if name not in LIMITS:
            _refuse(f"unknown limit '{name}'", where, did_you_mean(name, [*LIMITS, *names]))
        if isinstance(value, bool) or not isinstance(value, int | float):
            _refuse(f"the limit '{name}' is not a number", where, f"Write {name} = 5.0.")
        if not math.isfinite(value) or value < 0:
            _refuse(f"the limit '{name}' is {value}", where, "Give a number of 0 or more.")
        if name == ACCELERATED and value > 1:
            _refuse(f"the limit '{name}' is {value:g}", where, "It is a share: at most 1.0.")
    if names["accelerator"] is not None and not is_accelerator(names["accelerator"]):
        where = _place(path, text, selector, "accelerator")
        hint = "It is cpu, gpu, npu, npu:FOLDER or delegate:FILE."
        _refuse(f"unknown accelerator '{names['accelerator']}'", where, hint)
    if not limits and names["accelerator"] is None:
        where = _place(path, text, selector, None)
        _refuse(f"budget.{selector} has no limits", where, _HINT)
    return Budget(selector=selector, limits=limits, **names)


def _place(path: str, text: str, selector: str | None, key: str | None) -> str:
    """`path:line` of a key, or of its table, as far as a search for the text can tell."""
    lines = text.splitlines()
    start = 0
    if selector is not None:
        heads = [n for n, line in enumerate(lines) if line.lstrip().startswith("[")]
        start = next((n for n in heads if selector in lines[n]), 0)
    if key is None:
        return f"{path}:{start + 1}" if lines else path
    pattern = re.compile(rf"^\s*\[?\s*[\"']?(budget\.)?[\"']?{re.escape(key)}\b")
    for number in range(start, len(lines)):
        if pattern.match(lines[number]):
            return f"{path}:{number + 1}"
    return path


def _refuse(what: str, where: str, hint: str) -> NoReturn:
    raise EdgepackError("EP106", what, where=where, hint=hint)
