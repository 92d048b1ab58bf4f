"""What the host says: the messages of docs/protocol.md as bytes."""

from __future__ import annotations

import getpass
import json
import os
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from edgepack.errors import EdgepackError
from edgepack.model import Blob, Device, Job, JobSettings, Profile, RuntimeSpec

CHUNK_BYTES = 255 * 1024
"""Content of one chunk (docs/protocol.md allows 256 KiB): with its head, eight full SSH packets."""

_PAYS = 0.9
"""A blob is compressed on the wire when a sample from its middle shrinks below this share:
int8 weights and images do, weights in float and files already compressed do not."""
_SAMPLE_BYTES = 4 * 1024  # enough to tell; compressing what does not shrink costs 20 ms/256 KiB


def message(kind: str, **fields: Any) -> bytes:
    """One message: a JSON object and LF."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n"


def owner() -> str:
    """Who measures, for those who find the device busy: "user@host (process id)"."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def job_message(job: Job) -> bytes:
    """The first message: what the device is asked to do."""
    settings = asdict(job.settings)
    threads = settings.pop("threads") or job.profile.threads
    return message(
        "job",
        schema="edgepack.job/1",
        job_id=job.job_id,
        owner=owner(),
        blobs=[{"sha256": blob.sha256, "bytes": blob.bytes} for blob in job.blobs],
        variants=[{"name": variant.name, "sha256": variant.sha256} for variant in job.variants],
        data=_data(job),
        runtimes=[
            _runtime(runtime, job.profile.accelerator)
            for runtime in _runtimes(job.device, job.profile)
        ],
        sys_path=_sys_path(job.device, job.profile),
        accelerator=job.profile.accelerator,
        xnnpack=job.profile.xnnpack,
        delegate_options=dict(job.profile.delegate_options),
        threads=threads,
        memory_limit_bytes=job.profile.memory_limit_bytes,
        probes=list(job.profile.probes),
        settings=settings,
        trust=asdict(job.trust) if job.trust else None,
        device_data=job.device_data,
    )


def calibration_message(
    device: Device,
    profile: Profile,
    settings: JobSettings,
    *,
    data: str,
    blobs: Sequence[Blob],
    tensors: Sequence[int],
    samples: int,
    seed: int,
) -> bytes:
    """Asks for the ranges of tensors over the device's data; without blobs, what the data are."""
    return message(
        "calibrate",
        schema="edgepack.calibrate/1",
        owner=owner(),
        wait_s=settings.wait_s,
        timeout_s=settings.timeout_s,
        blobs=[{"sha256": blob.sha256, "bytes": blob.bytes} for blob in blobs],
        model=blobs[0].sha256 if blobs else None,
        tensors=list(tensors),
        data=data,
        samples=samples,
        seed=seed,
        # Only the interpreter shows its tensors, whatever the profile measures with.
        runtimes=[
            _runtime(replace(runtime, api="interpreter"), "cpu")
            for runtime in _runtimes(device, profile)
        ],
        sys_path=_sys_path(device, profile),
        threads=settings.threads or profile.threads,
    )


def provisioned_path(device: Device) -> list[str]:
    """The `sys_path` that holds what was provisioned on the device; [] without any."""
    return [f"runtime:{device.runtime_digest}"] if device.runtime_digest else []


def _sys_path(device: Device, profile: Profile) -> list[str]:
    return provisioned_path(device) if _uses_provisioned(device, profile) else []


def _uses_provisioned(device: Device, profile: Profile) -> bool:
    """Whether the provisioned runtime is one of those that may be used."""
    name, _, version = (device.runtime or "").partition("==")
    return any(
        runtime.name == name and (not runtime.exact or runtime.version == version)
        for runtime in profile.runtimes
    )


def _runtimes(device: Device, profile: Profile) -> list[RuntimeSpec]:
    """The profile's runtimes; the provisioned one, with its version, before the others."""
    wanted = list(profile.runtimes)
    if not _uses_provisioned(device, profile):
        return wanted
    name, _, version = (device.runtime or "").partition("==")
    api = next(runtime.api for runtime in wanted if runtime.name == name)
    own = RuntimeSpec(name=name, version=version, api=api)
    return [own, *(runtime for runtime in wanted if runtime.name != name)]


def _runtime(spec: RuntimeSpec, accelerator: str) -> dict[str, Any]:
    compiled = accelerator.partition(":")[0] in ("gpu", "npu")
    api = spec.api or ("compiled" if compiled else "interpreter")
    return {"name": spec.name, "version": spec.version, "api": api, "exact": spec.exact}


def _data(job: Job) -> Mapping[str, Any] | None:
    if job.data is None:
        return None
    return {
        "sha256": job.data.sha256,
        "task": job.data.task,
        "samples": job.data.samples,
        "transforms": {name: asdict(each) for name, each in job.data.transforms.items()},
        "source": job.data.source,
    }


def chunks(blob: Blob, have: int, *, compress: bool) -> Iterator[tuple[bytes, int]]:
    """The messages that bring the rest of a blob, each with the content bytes it carries.

    `have` bytes are on the device already. EP208 when the file is not what it was.
    """
    try:
        with Path(blob.path).open("rb") as file:
            shrink = compress and _shrinks(file, blob.bytes)
            file.seek(have)
            offset = have
            while offset < blob.bytes:
                content = file.read(min(CHUNK_BYTES, blob.bytes - offset))
                if not content:
                    raise EOFError("it is shorter than it was")
                data = zlib.compress(content, 1) if shrink else content
                encoding = "zlib" if shrink else "raw"
                head = message(
                    "chunk", sha256=blob.sha256, offset=offset, size=len(data), encoding=encoding
                )
                yield head + data, len(content)
                offset += len(content)
    except (OSError, EOFError) as error:
        raise EdgepackError(
            "EP208",
            f"A file of the package cannot be read: {error}",
            where=blob.path,
            hint="Build the package again.",
        ) from error


def _shrinks(file: BinaryIO, size: int) -> bool:
    """Whether compressing pays, from a sample: a model's beginning is not like its weights."""
    file.seek(max(0, size // 2 - _SAMPLE_BYTES // 2))
    sample = file.read(_SAMPLE_BYTES)
    return len(zlib.compress(sample, 1)) < _PAYS * len(sample)
