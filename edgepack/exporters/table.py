"""Runs as a table: one row a measurement, its statistics beside everything it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgepack.analysis import stats
from edgepack.model import Measurement, Run, Variant

#: Column -> "text", "int", "float" or "bool"; times carry their unit in the name.
COLUMNS: dict[str, str] = {
    "run_id": "text",
    "started_at": "text",
    "git_commit": "text",
    "git_branch": "text",
    "tags": "text",
    "source": "text",
    "package_digest": "text",
    "variant": "text",
    "variant_sha256": "text",
    "bytes": "int",
    "params": "int",
    "macs": "int",
    "device": "text",
    "profile": "text",
    "status": "text",
    "error": "text",
    "runtime": "text",
    "runtime_version": "text",
    "accelerator": "text",
    "threads": "int",
    "governor": "text",
    "flags": "text",
    "rounds": "int",
    "samples": "int",
    "latency_min_us": "float",
    "latency_p50_us": "float",
    "latency_p50_ci95_low_us": "float",
    "latency_p50_ci95_high_us": "float",
    "latency_p90_us": "float",
    "latency_p99_us": "float",
    "latency_mean_us": "float",
    "latency_stdev_us": "float",
    "load_us": "float",
    "first_inference_us": "float",
    "peak_rss_bytes": "int",
    "quality_metric": "text",
    "quality": "float",
    "quality_samples": "int",
}


def rows(runs: Sequence[Run]) -> Iterator[tuple[dict[str, Any], Measurement]]:
    """Each measurement as a row of `COLUMNS`, with the measurement itself."""
    for run in runs:
        variants = {variant.name: variant for variant in run.package.variants}
        for measured in run.measurements:
            row = _of_run(run) | _of_variant(variants.get(measured.variant))
            yield row | _of_device(measured) | _of_times(measured), measured


def _of_run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "started_at": run.started_at,
        "git_commit": run.git_commit,
        "git_branch": run.git_branch,
        "tags": " ".join(run.tags),
        "source": run.package.source_name,
        "package_digest": run.package.digest,
    }


def _of_variant(variant: Variant | None) -> dict[str, Any]:
    return {
        "variant_sha256": variant.sha256 if variant else None,
        "bytes": variant.bytes if variant else None,
        "params": variant.params if variant else None,
        "macs": variant.macs if variant else None,
    }


def _of_device(measured: Measurement) -> dict[str, Any]:
    runtime, governor = measured.runtime, measured.environment.get("governor")
    return {
        "variant": measured.variant,
        "device": measured.device,
        "profile": measured.profile,
        "status": str(measured.status),
        "error": measured.failure.code if measured.failure else None,
        "runtime": runtime.name if runtime else None,
        "runtime_version": runtime.version if runtime else None,
        "accelerator": measured.accelerator.actual,
        "threads": measured.threads,
        "governor": governor if isinstance(governor, str) else None,
        "flags": " ".join(measured.flags),
    }


def _of_times(measured: Measurement) -> dict[str, Any]:
    found, quality = stats.latency(measured), measured.quality
    return {
        "rounds": len(measured.rounds),
        "samples": found.n if found else 0,
        "latency_min_us": found.min if found else None,
        "latency_p50_us": found.p50 if found else None,
        "latency_p50_ci95_low_us": found.p50_ci95[0] if found else None,
        "latency_p50_ci95_high_us": found.p50_ci95[1] if found else None,
        "latency_p90_us": found.p90 if found else None,
        "latency_p99_us": found.p99 if found else None,
        "latency_mean_us": found.mean if found else None,
        "latency_stdev_us": found.stdev if found else None,
        "load_us": _us(measured.load_ns),
        "first_inference_us": _us(measured.first_ns),
        "peak_rss_bytes": measured.peak_rss_bytes,
        "quality_metric": quality.metric if quality else None,
        "quality": quality.value if quality else None,
        "quality_samples": quality.n if quality else None,
    }


def _us(ns: int | None) -> float | None:
    return None if ns is None else ns / 1000
