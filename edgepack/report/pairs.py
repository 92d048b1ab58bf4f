"""Runs side by side as cleaned cells, and as the JSON document `edgepack.comparison/1`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from edgepack.analysis import like, words
from edgepack.analysis.across import Baseline, Pair, pairs
from edgepack.analysis.bench import energy_mj
from edgepack.analysis.gains import Gain
from edgepack.model import Comparison, Run, Verdict
from edgepack.report import text
from edgepack.report.document import check, finite, run_document

SCHEMA = "edgepack.comparison/1"
GAINS_SCHEMA = "edgepack.gains/1"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement of one run; every text is clean. against: the ratio in words.

    memory: the measuring process's peak; energy: of one inference, "–" where it is not known.
    """

    run: str
    variant: str
    size: str
    p50: str
    memory: str
    energy: str
    against: str
    score: str
    delta: str
    note: str
    is_base: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """The lines of one device; setting: the one that all share, else "" and each line has it."""

    device: str
    profile: str
    setting: str
    lines: tuple[Line, ...]


def against(run: Run, baseline: Run) -> list[Group]:
    """A run beside its baseline run, for the reports of one run."""
    return groups(pairs([run], Baseline(run=baseline)))


def groups(found: Sequence[Pair]) -> list[Group]:
    """The pairs by device; runs are numbered from #1."""
    by_device: dict[str, list[Pair]] = {}
    for pair in found:
        by_device.setdefault(pair.device, []).append(pair)
    return [_group(device, of) for device, of in by_device.items()]


def _group(device: str, of: Sequence[Pair]) -> Group:
    settings = dict.fromkeys(_setting(pair) for pair in of if pair.entry.latency)
    shared = len(settings) == 1
    profiles = dict.fromkeys(pair.entry.measurement.profile for pair in of)
    return Group(
        device=text.plain(device),
        profile=text.plain(" / ".join(profiles)),
        setting=text.plain(next(iter(settings))) if shared else "",
        lines=tuple(_line(pair, "" if shared else _setting(pair)) for pair in of),
    )


def _setting(pair: Pair) -> str:
    return pair.setting + text.batches(pair.entry.measurement.batch)


def _line(pair: Pair, setting: str) -> Line:
    latency, scored, measured = pair.entry.latency, pair.entry.quality, pair.entry.measurement
    note = "; ".join(part for part in (pair.note, setting if latency else "") if part)
    return Line(
        run=f"#{pair.number + 1}",
        variant=text.plain(pair.entry.name),
        size=text.size(pair.entry.bytes),
        p50=text.with_interval(latency.p50, latency.p50_ci95) if latency else "–",
        memory=text.size(measured.peak_rss_bytes) if latency else "–",
        energy=text.millijoules(energy_mj(measured)) if latency else "–",
        against=_against(pair),
        score=words.value(scored) if scored else "–",
        delta=_delta(pair),
        note=text.plain(note),
        is_base=pair.is_base,
    )


def _against(pair: Pair) -> str:
    if pair.is_base:
        return "baseline"
    if pair.speedup is None:
        return "not compared" if pair.note.startswith("not compared") else "–"
    if pair.speedup_ci95 is None:
        return f"{pair.speedup:.2f}× (too few)"
    if not pair.significant:
        return "not significant"
    low, high = pair.speedup_ci95
    return f"{pair.speedup:.2f}× ({low:.2f}–{high:.2f})"


def _delta(pair: Pair) -> str:
    change = pair.change
    if change is None or pair.is_base:
        return ""
    doubt = {True: "", False: " n.s.", None: " ?"}[change.significant]
    return words.signed(change.delta, change.metric, unit="") + doubt


def spread(gain: Gain) -> str:
    """A gain's speed-ups: "2.71×", "2.10–2.40× (3 boards)", "not significant", "–"."""
    if not gain.speedups:
        return "–"
    if gain.undecided == len(gain.speedups):
        return "not significant"
    low, high = gain.speedups[0], gain.speedups[-1]
    if len(gain.speedups) == 1:
        return f"{low:.2f}×"
    doubt = f", {gain.undecided} n.s." if gain.undecided else ""
    return f"{low:.2f}–{high:.2f}× ({len(gain.speedups)} boards{doubt})"


def changes(gain: Gain) -> str:
    """A gain's changes of quality: "−0.30", "−0.40 to −0.10", "–"."""
    if not gain.deltas or gain.metric is None:
        return "–"
    ends = dict.fromkeys(
        words.signed(value, gain.metric, unit="") for value in (gain.deltas[0], gain.deltas[-1])
    )
    return " to ".join(ends)


# ---------------------------------------------------------------- JSON


def run_against(
    run: Run, comparison: Comparison, verdict: Verdict, baseline: Run | None
) -> dict[str, Any]:
    """The document of one run; with a baseline run, also its rows against that one."""
    made = run_document(run, comparison, verdict)
    if baseline is not None:
        rows = pairs([run], Baseline(run=baseline))
        made["against"] = {"run_id": baseline.run_id, "rows": [row(pair) for pair in rows]}
    return made


def document(
    runs: Sequence[Run],
    baseline: Baseline,
    found: Sequence[Pair],
    verdicts: Mapping[str, Verdict],
) -> dict[str, Any]:
    """The runs side by side; `verdicts` by run id, empty without `--fail-on`."""
    return {
        "schema": SCHEMA,
        "baseline": {
            "variant": baseline.variant,
            "run_id": baseline.run.run_id if baseline.run else None,
        },
        "runs": [
            {
                "run_id": run.run_id,
                "source": run.package.source_name,
                "started_at": run.started_at,
                "git_commit": run.git_commit,
                "tags": list(run.tags),
            }
            for run in runs
        ],
        "rows": [row(pair) for pair in found],
        "verdicts": [
            {
                "run_id": run_id,
                "status": str(verdict.status),
                "checks": [check(each) for each in verdict.checks if each.decides],
            }
            for run_id, verdict in verdicts.items()
        ],
    }


def row(pair: Pair) -> dict[str, Any]:
    """One pair as JSON values."""
    measured, latency, change = pair.entry.measurement, pair.entry.latency, pair.change
    scored = pair.entry.quality
    runtime = measured.runtime
    return {
        "run_id": pair.run_id,
        "variant": pair.entry.name,
        "device": pair.device,
        "profile": measured.profile,
        "status": str(measured.status),
        "runtime": None if runtime is None else {"name": runtime.name, "version": runtime.version},
        "accelerator": measured.accelerator.actual,
        "threads": measured.threads,
        "governor": like.governor(measured),
        "emulated": pair.entry.emulated,
        "p50_us": latency.p50 if latency else None,
        "p90_us": latency.p90 if latency else None,
        "p99_us": latency.p99 if latency else None,
        "bytes": pair.entry.bytes,
        "peak_rss_bytes": measured.peak_rss_bytes,
        "energy_mj": energy_mj(measured),
        "quality": None
        if scored is None
        else {"metric": scored.metric, "value": finite(scored.value), "n": scored.n},
        "is_baseline": pair.is_base,
        "speedup": finite(pair.speedup),
        "speedup_ci95": finite(pair.speedup_ci95),
        "significant": pair.significant,
        "size_ratio": finite(pair.size_ratio),
        "memory_ratio": finite(pair.memory_ratio),
        "energy_ratio": finite(pair.energy_ratio),
        "quality_delta": finite(change.delta) if change else None,
        "quality_p": finite(change.p) if change else None,
        "quality_significant": change.significant if change else None,
        "note": pair.note,
    }


def gains_document(baseline: str, gains: Sequence[Gain]) -> dict[str, Any]:
    """What each profile gains from each variant."""
    return {
        "schema": GAINS_SCHEMA,
        "baseline": baseline,
        "rows": [
            {
                "profile": gain.profile,
                "variant": gain.variant,
                "boards": gain.boards,
                "speedups": [finite(value) for value in gain.speedups],
                "not_significant": gain.undecided,
                "metric": gain.metric,
                "quality_deltas": [finite(value) for value in gain.deltas],
                "size_ratio": finite(gain.size_ratio),
                "energy_ratios": [finite(value) for value in gain.energy_ratios],
                "notes": list(gain.notes),
            }
            for gain in gains
        ],
    }


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of "comparison" or "gains"."""
    file = resources.files("edgepack.report") / "schema" / f"{name}.schema.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
