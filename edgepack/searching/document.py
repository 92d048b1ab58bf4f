"""The one JSON document of a search: schema `edgepack.search/1`, in `schema/search.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from edgepack import codec
from edgepack.report.document import finite
from edgepack.searching.answers import Answer, Conclusion, Final
from edgepack.searching.values import Tried

SCHEMA = "edgepack.search/1"


def document(
    name: str, tried: Sequence[Tried], conclusion: Conclusion, written: Mapping[str, Path]
) -> dict[str, Any]:
    """The search as JSON values; None where something was not measured."""
    found: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "search_id": name,
            "runs": [run.run_id for run in conclusion.runs],
            "status": status(conclusion),
            "devices": {
                answer.device: _answer(answer, written.get(answer.device))
                for answer in conclusion.answers
            },
            "lost": dict(conclusion.lost),
            "notes": list(conclusion.notes),
            "trials": trials(tried),
        }
    )
    return found


def status(conclusion: Conclusion) -> str:
    """ "found" for every device; else "unmeasured" where one was lost, or could not be measured
    against a limit; else "infeasible"."""
    bindings = [each for answer in conclusion.answers for each in answer.binding]
    if conclusion.lost or any(each.value is None for each in bindings):
        return "unmeasured"
    return "found" if all(answer.best for answer in conclusion.answers) else "infeasible"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every document of this module obeys."""
    file = resources.files("edgepack.searching") / "schema" / "search.schema.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _answer(answer: Answer, written: Path | None) -> dict[str, Any]:
    return {
        "best": None if answer.best is None else _final(answer.best),
        "package": None if written is None else str(written),
        "pareto": [_final(one) for one in answer.front],
        "finalists": [_final(one) for one in answer.finals],
        "binding": [
            {
                "limit": one.limit,
                "bound": one.bound,
                "value": one.value,
                "excess": one.excess,
                "variant": one.variant,
                "meets_all_others": one.others,
            }
            for one in answer.binding
        ],
    }


def _final(one: Final) -> dict[str, Any]:
    return {
        "variant": one.variant,
        "trial": one.trial,
        "run": one.run_id,
        "latency_us": one.latency_us,
        "latency_ci95_us": one.latency_ci95_us,
        "speedup": one.speedup,
        "quality": one.quality,
        "quality_delta": one.quality_delta,
        "bytes": one.bytes,
        "fits": one.fits,
        "values": dict(one.values),
        "threads": one.setting.threads or None,
        "runtime": one.setting.runtime or None,
    }


def trials(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """Every finished trial."""
    return [_trial(one) for one in tried]


def _trial(one: Tried) -> dict[str, Any]:
    return {
        "trial": one.number,
        "stage": one.stage,
        "bracket": one.bracket,
        "choice": codec.to_json(one.choice),
        "status": "ok" if one.ok else "failed",
        "error": one.error or None,
        "sha256": one.sha256 or None,
        "bytes": one.bytes if one.ok else None,
        "quality": one.quality if one.ok else None,
        "loss": one.loss if one.ok else None,
        "latency_us": dict(one.latency_us),
        "over": dict(one.over),
        "at_s": one.at_s,
    }
