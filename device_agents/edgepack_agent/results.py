"""Which runtime a job uses, and what its `result` events say."""

import sys
from statistics import median
from typing import Any, Dict, List, Sequence, Set

from edgepack_agent import cpu
from edgepack_agent.errors import AgentError
from edgepack_agent.job import Job, RuntimeSpec
from edgepack_agent.subject import Subject

_NO_ACCELERATOR: Dict[str, Any] = {
    "actual": "none",
    "adapter": None,
    "ops_total": None,
    "ops_delegated": None,
    "ops_left": [],
    "types": {},
}
CLOCK_SHARE = 0.02  # of p50: what reading the clock may take of a sample unsaid
_SOFTWARE_NPU = "OpenVINO device: CPU"  # what a dispatch library says that was told to use it
_SOFTWARE_GPU = "adapterType=CPU"  # Dawn's word for a renderer that runs on the processor


def choose(candidates: List[Dict[str, Any]], wanted: Sequence[RuntimeSpec]) -> RuntimeSpec:
    """The first usable runtime. AgentError EP405 with the reason of each when there is none."""
    exact = {spec.name: spec.version for spec in wanted if spec.exact}
    for found in candidates:
        name, version = found["name"], found["version"]
        if found["unusable"] is None and exact.get(name, version) == version:
            return RuntimeSpec(name, version, found["api"])
        if found["unusable"] is None:
            found["unusable"] = "version %s, not %s" % (version, exact[name])
    reasons = "; ".join("%s: %s" % (found["name"], found["unusable"]) for found in candidates)
    raise AgentError(
        "EP405",
        "no runtime can be used by %s: %s" % (sys.executable, reasons),
        "Bring one: edgepack device provision NAME; or install it for that Python: pip install '%s'"
        % "==".join(filter(None, (candidates[0]["name"], exact.get(candidates[0]["name"])))),
    )


def runtime_flags(job: Job, runtime: RuntimeSpec) -> List[str]:
    """ "runtime-version" when the profile pins another version than the one in use."""
    pinned = {spec.version for spec in job.runtimes if spec.name == runtime.name}
    return [] if None in pinned or runtime.version in pinned else ["runtime-version"]


def result(
    job: Job, runtime: RuntimeSpec, subject: Subject, excluded: Set[int], flags: List[str]
) -> Dict[str, Any]:
    """The `result` event of one variant. `excluded`: the rounds that are not to count."""
    loaded = subject.loaded
    accelerator = dict(loaded.get("accelerator") or _NO_ACCELERATOR)
    accelerator.update(requested=job.accelerator, xnnpack=job.xnnpack)
    flags = flags + _subject_flags(job, subject, accelerator)
    return {
        "event": "result",
        "variant": subject.ref.name,
        "status": subject.status,
        "error": subject.error,
        "runtime": {"name": runtime.name, "version": runtime.version, "api": runtime.api},
        "accelerator": accelerator,
        "threads": job.threads,
        "process_ns": loaded.get("process_ns"),
        "load_ns": loaded.get("load_ns"),
        "setup_ns": loaded.get("setup_ns"),
        "first_ns": loaded.get("first_ns"),
        "timer_ns": loaded.get("timer_ns"),
        "peak_rss_bytes": subject.peak_rss_bytes,
        "cpu": subject.cpu,
        "rounds": len(subject.visits),
        "excluded": [visit.round for visit in subject.visits if visit.round in excluded],
        "launches": subject.launched_at(),
        "mode": job.settings.mode,
        "batch": job.settings.batch,
        "sweep": subject.sweep,
        "warmup": subject.warmup,
        "quality": subject.quality,
        "inputs_sha256": loaded.get("inputs_sha256"),
        "flags": sorted(set(subject.flags + flags)),
    }


def _subject_flags(job: Job, subject: Subject, accelerator: Dict[str, Any]) -> List[str]:
    """What was not as it was asked for: the accelerator, or the threads."""
    flags = []
    if job.accelerator != "cpu" and accelerator["actual"] != "none":
        total, taken = accelerator["ops_total"], accelerator["ops_delegated"]
        if accelerator["actual"] != job.accelerator:
            flags.append("accelerator-fallback")
        elif total is None or taken is None or taken < total:
            flags.append("accelerator-partial")
        if _SOFTWARE_GPU in (accelerator["adapter"] or ""):
            flags.append("software-gpu")
        if (accelerator["adapter"] or "").endswith(_SOFTWARE_NPU):
            flags.append("software-npu")
    if not subject.visits:
        return flags
    p50_ns = int(median(visit.p50_ns for visit in subject.visits))
    reading = subject.cpu if job.accelerator == "cpu" else None
    if reading is not None and cpu.threads_ignored(job.threads, reading, p50_ns):
        flags.append("threads-ignored")
    if subject.loaded["timer_ns"] > CLOCK_SHARE * p50_ns:
        flags.append("clock-cost")
    return flags
