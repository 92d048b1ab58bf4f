"""Devices in the loop of a build: candidates measured while their recipe is still running."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgepack import codec, fleet
from edgepack import package as packages
from edgepack.analysis import stats
from edgepack.calibrating import DeviceCalibrator
from edgepack.compress.site import Site
from edgepack.errors import EdgepackError
from edgepack.model import (
    Blob,
    Event,
    Job,
    JobSettings,
    Measurement,
    Recipe,
    Signature,
    Status,
    Variant,
)
from edgepack.plan import Target

# A candidate is one of a dozen in a bisection: p50 to ±2% tells them apart.
QUICK = JobSettings(
    warmup_s=0.3,
    warmup_max_s=1.0,
    max_s=5.0,
    ci=0.02,
    timeout_s=120.0,
    parity_samples=0,
    launches=1,
)
_NAME = "candidate"
# What decides a latency: which board this is, and how files run on it.
_BOARD = (
    *("name", "transport", "host", "port", "host_keys", "jump"),
    *("python", "runtime", "runtime_digest"),
)
_HOW = ("runtimes", "threads", "accelerator", "xnnpack", "delegate_options", "memory_limit_bytes")


def site(
    targets: Sequence[Target],
    *,
    emit: Callable[[Event], None],
    data: str | None = None,
    calibrate: JobSettings | None = None,
) -> Site:
    """Where a plan's variants are to run: what its profiles ask for, and how to measure there.

    Channel counts have to suit every board: the largest multiple of all profiles is taken.
    data: the path of the user's data on the devices, if they are there; calibrate: how to, on
    these data, or None for not to.
    """
    if not targets:
        return Site(has_data=data is not None)
    calibrator = None
    if data is not None and calibrate is not None:
        calibrator = DeviceCalibrator(targets, data, calibrate, emit=emit)
    return Site(
        has_data=data is not None,
        calibrator=calibrator,
        profile={"channel_multiple": max(t.profile.channel_multiple for t in targets)},
        device=_identity(targets),
        measure=lambda content: latency_s(content, targets, emit=emit),
    )


def _identity(targets: Sequence[Target]) -> str:
    """The boards and how they are set up, as one text: a board that was registered anew under
    the same name, or runs files otherwise, is another place to measure."""
    found = []
    for target in targets:
        device, profile = codec.to_json(target.device), codec.to_json(target.profile)
        board = {name: device[name] for name in _BOARD}
        found.append({**board, **{name: profile[name] for name in _HOW}})
    return json.dumps(sorted(found, key=lambda one: str(one["name"])), sort_keys=True)


def latency_s(content: bytes, targets: Sequence[Target], *, emit: Callable[[Event], None]) -> float:
    """The p50 latency in seconds of a `.tflite` on the slowest of the devices.

    Raises:
        EdgepackError: the device's own error where one of them cannot measure it.
    """
    found = measure({_NAME: content}, targets, settings=QUICK, emit=emit)
    return max(_seconds(one) for report in found for one in report.measurements)


def measure(
    files: Mapping[str, bytes],
    targets: Sequence[Target],
    *,
    settings: JobSettings,
    emit: Callable[[Event], None],
    device_data: str | None = None,
) -> list[fleet.DeviceReport]:
    """Several `.tflite` files by name, in interleaved rounds of one job a device.

    Inputs are seeded random ones, or the samples under the path `device_data` on the devices,
    by which quality is judged there. A device that fails is a report with its `failure`; only
    failures and warnings are told.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        variants, blobs = [], {}
        for name, content in files.items():
            path = Path(scratch) / packages.variant_file(name)
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            blobs[digest] = Blob(sha256=digest, bytes=len(content), path=str(path))
            variants.append(stand_in(name, digest, len(content)))
        jobs = [
            Job(
                job_id=secrets.token_hex(8),
                device=target.device,
                profile=target.profile,
                variants=tuple(variants),
                data=None,
                blobs=tuple(blobs.values()),
                settings=settings,
                device_data=device_data,
            )
            for target in targets
        ]
        return list(fleet.run_jobs(jobs, emit=_quietly(emit)))


def stand_in(name: str, digest: str, size: int) -> Variant:
    """A variant of which only the file is known."""
    return Variant(
        name=name,
        recipe=Recipe(name=name),
        sha256=digest,
        bytes=size,
        gzip_bytes=size,
        signature=Signature(inputs=(), outputs=()),
    )


def _quietly(emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Failures and warnings only: what a candidate's job does is not the run's progress."""

    def forward(event: Event) -> None:
        if event.kind in ("failed", "warning"):
            emit(event)

    return forward


def _seconds(measured: Measurement) -> float:
    latency = stats.latency(measured)
    if measured.status is not Status.OK or latency is None:
        failure = measured.failure
        raise EdgepackError(
            failure.code if failure else "EP502",
            failure.what if failure else "the candidate gave no latency",
            where=measured.device,
            hint=failure.hint if failure else "Run 'edgepack run' on the device to see why.",
        )
    return latency.p50 / 1e6
