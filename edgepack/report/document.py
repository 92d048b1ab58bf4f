"""The one JSON document of a run: schema `edgepack.run/1`, in `schema/run.schema.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

from edgepack.analysis import quality, stats
from edgepack.model import Check, Comparison, Fleet, Measurement, Run, Status, Variant, Verdict
from edgepack.report import modes

SCHEMA = "edgepack.run/1"


def run_document(run: Run, comparison: Comparison, verdict: Verdict) -> dict[str, Any]:
    """The run as JSON values: finite numbers only, None where something was not measured.

    `verdict.checks` holds the checks that the verdict rests on; those of the other variants
    are for people and are left to the reports.
    """
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "package": {
            "digest": run.package.digest,
            "path": run.package_path,
            "classes": list(run.package.data.classes) if run.package.data else [],
        },
        "variants": [_variant(variant) for variant in run.package.variants],
        "measurements": [_measurement(measurement) for measurement in run.measurements],
        "comparison": _comparison(comparison),
        "sustained": modes.sustained(run),
        "verdict": {
            "status": str(verdict.status),
            "checks": [check(each) for each in verdict.checks if each.decides],
        },
    }


def check(found: Check) -> dict[str, Any]:
    """One check as JSON values; `note` only where there is one."""
    made = {
        "budget": found.budget,
        "device": found.device,
        "variant": found.variant,
        "value": finite(found.value),
        "limit": finite(found.limit),
        "status": str(found.status),
    }
    return made | ({"note": found.note} if found.note else {})


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every document of this module obeys."""
    file = resources.files("edgepack.report") / "schema" / "run.schema.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def finite(value: Any) -> Any:
    """The value with NaN and infinities, which JSON does not have, as None at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


def _variant(variant: Variant) -> dict[str, Any]:
    return {
        "name": variant.name,
        "recipe": variant.recipe.name,
        "sha256": variant.sha256,
        "bytes": variant.bytes,
        "gzip_bytes": variant.gzip_bytes,
        "params": variant.params,
        "macs": variant.macs,
        "sparsity": finite(variant.sparsity),
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    accelerator, runtime = measurement.accelerator, measurement.runtime
    failure = measurement.failure
    return {
        "variant": measurement.variant,
        "device": measurement.device,
        "profile": measurement.profile,
        "status": str(measurement.status),
        "error": None
        if failure is None
        else {"code": failure.code, "what": failure.what, "hint": failure.hint},
        "runtime": None
        if runtime is None
        else {"name": runtime.name, "version": runtime.version, "api": runtime.api},
        "accelerator": {
            "requested": accelerator.requested,
            "actual": accelerator.actual,
            "ops_total": accelerator.ops_total,
            "ops_delegated": accelerator.ops_delegated,
            "ops_left": list(accelerator.ops_left),
            "xnnpack": accelerator.xnnpack,
            "adapter": accelerator.adapter,
            "types": dict(accelerator.types),
        },
        "threads": measurement.threads,
        "latency_us": _latency(measurement),
        "timer_us": None if measurement.timer_ns is None else measurement.timer_ns / 1e3,
        "cold": {
            "load_ms": _ms(measurement.load_ns),
            "first_inference_ms": _ms(measurement.first_ns),
            "process_ms": _ms(measurement.process_ns),
            "setup_ms": _ms(measurement.setup_ns),
        },
        "cpu": None if measurement.cpu is None else finite(asdict(measurement.cpu)),
        "memory": {"peak_rss_bytes": measurement.peak_rss_bytes},
        "quality": _quality(measurement),
        "parity": _parity(measurement),
        **modes.fields(measurement),
        "environment": finite(measurement.environment),
        "flags": list(measurement.flags),
        "divergence": None
        if measurement.divergence is None
        else finite(asdict(measurement.divergence)),
        "ops": [finite(asdict(op)) for op in measurement.ops] or None,
    }


def _latency(measurement: Measurement) -> dict[str, Any] | None:
    # Samples taken before a variant failed are kept in the store, not shown as its latency.
    found = stats.latency(measurement) if measurement.status is Status.OK else None
    if found is None:
        return None
    return {
        "n": found.n,
        "min": found.min,
        "p50": found.p50,
        "p90": found.p90,
        "p99": found.p99,
        "mean": found.mean,
        "stdev": found.stdev,
        "p50_ci95": list(found.p50_ci95),
    }


def _quality(measurement: Measurement) -> dict[str, Any] | None:
    found = quality.measured(measurement)
    if found is None:
        return None
    return {
        "metric": found.metric,
        "value": found.value,
        "n": found.n,
        "ci95": finite(found.ci95),
        "extra": finite(found.extra),
        "extra_ci95": finite(found.extra_ci95),
        "confusion": None if found.confusion is None else finite(asdict(found.confusion)),
    }


def _parity(measurement: Measurement) -> dict[str, Any] | None:
    parity = measurement.parity
    if parity is None:
        return None
    return {
        "top1_agreement": finite(parity.top1_agreement),
        "max_abs_diff": finite(parity.max_abs_diff),
        "snr_db": finite(parity.snr_db),
        "max_steps": parity.max_steps,
        "top1_flips": parity.top1_flips,
    }


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "baseline": comparison.baseline,
        "rows": [
            {
                "variant": row.variant,
                "device": row.device,
                "speedup": finite(row.speedup),
                "speedup_ci95": finite(row.speedup_ci95),
                "size_ratio": finite(row.size_ratio),
                "quality_delta": finite(row.quality_delta),
                "significant": row.significant,
            }
            for row in comparison.rows
        ],
        "pareto": {device: list(front) for device, front in comparison.pareto.items()},
        "recommended": dict(comparison.recommended),
        "fleet": _fleet(comparison.fleet),
    }


def _fleet(fleet: Fleet | None) -> dict[str, Any] | None:
    if fleet is None:
        return None
    return {
        "variant": fleet.variant,
        "devices": list(fleet.devices),
        "costs": finite(fleet.costs),
        "reason": fleet.reason,
        "lost": dict(fleet.lost),
    }
