"""The HTML report of a run; `page` is its frame."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgepack.model import Comparison, Run, Variant, Verdict
from edgepack.report import charts, cold, decisions, operations, page, pairs, text, timeline, view

#: More compressed samples than this stay in the store: the page should stay below 1 MB.
MOST_SAMPLES_BYTES = 400_000
MOST_ENVIRONMENT_ROWS = 120


def render(run: Run, comparison: Comparison, verdict: Verdict, baseline: Run | None = None) -> str:
    """The whole report as one HTML document; baseline: the run it is held against, if any."""
    return page.render("report.html.j2", **_facts(run, comparison, verdict, baseline))


def _facts(
    run: Run, comparison: Comparison, verdict: Verdict, baseline: Run | None
) -> dict[str, Any]:
    samples, count = _samples(run)
    classes = run.package.data.classes if run.package.data else ()
    return {
        "source": text.plain(run.package.source_name),
        "run_id": text.plain(run.run_id),
        "file_name": page.file_name(run.run_id),
        "started_at": text.plain(run.started_at),
        "commit": text.plain(run.git_commit or "", 12),
        "tags": text.plain(", ".join(run.tags)),
        "note": text.plain(run.note),
        "headline": view.headline(run, comparison, verdict),
        "baseline": text.plain(comparison.baseline, 24),
        "against": pairs.against(run, baseline) if baseline else [],
        "against_run": text.plain(baseline.run_id) if baseline else "",
        "fleet": _fleet(comparison),
        "verdict": verdict,
        "verdict_text": view.verdict(verdict),
        "checks": [(c.status, view.check(c)) for c in verdict.checks if c.decides],
        "other_checks": [(c.status, view.check(c)) for c in verdict.checks if not c.decides],
        "alternatives": view.alternatives(verdict),
        "devices": [_device(found, classes) for found in view.devices(run, comparison)],
        "variants": [_variant(variant) for variant in run.package.variants],
        "warnings": [
            text.plain(f"{variant.name}: {warning}")
            for variant in run.package.variants
            for warning in variant.warnings
        ],
        "transfers": list(_transfers(run)),
        "tools": [(text.plain(key), text.plain(value)) for key, value in run.package.tools.items()],
        "document": page.as_link(
            page.encoded(pairs.run_against(run, comparison, verdict, baseline))
        ),
        "samples": samples,
        "sample_count": f"{count:,}",
    }


def _fleet(comparison: Comparison) -> dict[str, Any] | None:
    fleet = comparison.fleet
    if fleet is None:
        return None
    lost = [(text.plain(name), text.plain(why)) for name, why in fleet.lost.items()]
    return {"reason": text.plain(fleet.reason), "lost": lost}


def _device(found: view.DeviceView, classes: Sequence[str]) -> dict[str, Any]:
    from markupsafe import Markup

    trade_off, distributions = charts.trade_off(found), charts.distributions(found)
    time_line = timeline.chart(found)
    described = next((line for line in found.lines if line.measurement.environment), None)
    rows = list(_flat(described.measurement.environment)) if described else []
    if len(rows) > MOST_ENVIRONMENT_ROWS:
        more = len(rows) - MOST_ENVIRONMENT_ROWS
        rows = [*rows[:MOST_ENVIRONMENT_ROWS], ("…", f"{more} more in the raw data")]
    return {
        "view": found,
        "best": next((line for line in found.lines if line.recommended), None),
        "timed": any(line.ok for line in found.lines),
        "powered": any(line.energy_mj is not None for line in found.lines),
        "trade_off": Markup(trade_off) if trade_off else None,  # noqa: S704  (escaped by svg.tag)
        "distributions": Markup(distributions) if distributions else None,  # noqa: S704
        "time_line": Markup(time_line) if time_line else None,  # noqa: S704
        "disturbances": timeline.disturbances(found),
        "changed": decisions.changed(found),
        "mixed": decisions.mixed_up(found, classes),
        "operations": list(decisions.operations(found)),
        "cold": cold.table(found),
        "cold_explained": cold.EXPLAINED,
        "profiled": [
            (each, [(row, Markup(row.bar)) for row in each.rows])  # noqa: S704  (by svg.tag)
            for each in operations.profiled(found)
        ],
        "environment": rows,
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as dotted names and texts, both cleaned."""
    for key, inner in value.items():
        if key == "timeline":  # drawn, and whole in the raw data
            continue
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{name}.")
        elif isinstance(inner, list | tuple):
            yield text.plain(name, 80), text.plain(", ".join(str(item) for item in inner))
        elif inner is not None:
            yield text.plain(name, 80), text.plain(inner)


def _variant(variant: Variant) -> tuple[str, ...]:
    agreement = variant.agreement
    top1 = agreement.top1_agreement if agreement else None
    snr = agreement.snr_db if agreement else None
    return (
        text.plain(variant.name),
        text.size(variant.bytes),
        text.size(variant.gzip_bytes),
        "–" if variant.params is None else f"{variant.params:,}",
        "–" if variant.macs is None else f"{variant.macs:,}",
        "–" if variant.sparsity is None else f"{100 * variant.sparsity:.0f}%",
        "–" if top1 is None else f"{100 * top1:.1f}%",
        "–" if snr is None else f"{snr:.0f} dB",
        text.plain(" → ".join(step.name for step in variant.recipe.passes) or "–"),
        text.plain(variant.sha256, 17),
    )


def _transfers(run: Run) -> Iterator[tuple[str, ...]]:
    for transfer in run.transfers:
        yield (
            text.plain(transfer.device),
            str(transfer.connections),
            str(transfer.execs),
            text.size(transfer.sent_bytes),
            text.size(transfer.blob_bytes),
            text.size(transfer.agent_bytes),
            text.size(transfer.received_bytes),
            f"{transfer.seconds:.1f} s",
            text.plain(transfer.cipher or "–"),
        )


def _samples(run: Run) -> tuple[str, int]:
    """All samples as base64 of gzip of JSON, or "" when they are too many; and their number."""
    count = sum(len(values) for found in run.measurements for values in found.rounds)
    if count > MOST_SAMPLES_BYTES:  # each takes more than a byte, however well it packs
        return "", count
    rounds = [
        {"variant": found.variant, "device": found.device, "rounds_ns": found.rounds}
        for found in run.measurements
    ]
    packed = gzip.compress(
        page.encoded({"schema": "edgepack.samples/1", "measurements": rounds}), mtime=0
    )
    return (page.as_link(packed) if len(packed) <= MOST_SAMPLES_BYTES else ""), count
