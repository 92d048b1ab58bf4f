"""What a host asks for, as checked values: a job, files to keep, a calibration.

AgentError EP501 for a field unknown here, EP105 for a bad value; see `fields`.
"""

from typing import Any, Dict, NamedTuple, Optional, Tuple

from edgepack_agent import fields
from edgepack_agent.fields import DAY_S

SCHEMA = "edgepack.job/1"
MAX_TENSORS = 65536  # of a calibration: their ranges are one event


class Blob(NamedTuple):
    """A file that the job needs."""

    sha256: str
    bytes: int


class VariantRef(NamedTuple):
    """A variant's name and its blob."""

    name: str
    sha256: str


class RuntimeSpec(NamedTuple):
    """A runtime's distribution name and the version that the profile pins, or None; api: which
    of its interfaces ("interpreter", or LiteRT's "compiled" and "c"); exact: whether another
    version must not be used."""

    name: str
    version: Optional[str]
    api: str
    exact: bool = False


class Data(NamedTuple):
    """The evaluation data: real value = stored * scale + offset, by input."""

    sha256: str
    task: str
    samples: int
    transforms: Dict[str, Dict[str, float]]
    source: str
    path: Optional[str] = None  # of a file that was on the board before


class Settings(NamedTuple):
    """How the job measures; times in seconds, `ci` a share of p50.

    wait_s: for another owner's lease; cache_bytes: that the blobs may take, None for the
    agent's own default. profile_ops: tell each operation's time.
    output_samples: how many samples' outputs the host judges. warmup_s, warmup_max_s: least
    and most time for a steady state. mode: see `modes`; min_s, min_queries: of a variant in mode
    single-stream. batch: samples an inference. sweep_threads: further thread counts to measure.
    stable_s: how long to wait for a cool and idle board, None to start whatever it is.
    launches: processes of each variant, one after the other; None as `modes.launches` says.
    """

    warmup_s: float
    warmup_max_s: float
    mode: str
    min_s: float
    min_queries: int
    batch: int
    sweep_threads: Tuple[int, ...]
    stable_s: Optional[float]
    min_rounds: int
    max_s: float
    ci: float
    seed: int
    timeout_s: float
    parity_samples: int
    quality_samples: Optional[int]
    wait_s: float
    cache_bytes: Optional[int]
    profile_ops: bool
    output_samples: int
    launches: Optional[int]


class Trust(NamedTuple):
    """The digests of a signed package's manifest, its signature and the allowed signers."""

    manifest: str
    signature: str
    signers: str
    allow_rollback: bool


class Push(NamedTuple):
    """Files to keep for a job to come."""

    owner: str
    wait_s: float
    blobs: Tuple[Blob, ...]


class Calibration(NamedTuple):
    """A float model to run over data of this board. model: its digest; None asks for what the
    data are alone. tensors: the model's tensors whose ranges to tell; samples: at most."""

    owner: str
    wait_s: float
    timeout_s: float
    blobs: Tuple[Blob, ...]
    model: Optional[str]
    tensors: Tuple[int, ...]
    data: str
    samples: int
    seed: int
    runtimes: Tuple[RuntimeSpec, ...]
    sys_path: Tuple[str, ...]
    threads: int


class Job(NamedTuple):
    """What one device is asked to do.

    memory_limit_bytes: of each worker; 0 for none, None for what `memory.limit_for` says.
    """

    job_id: str
    owner: str
    blobs: Tuple[Blob, ...]
    variants: Tuple[VariantRef, ...]
    data: Optional[Data]
    runtimes: Tuple[RuntimeSpec, ...]
    sys_path: Tuple[str, ...]
    accelerator: str
    xnnpack: bool
    delegate_options: Dict[str, str]
    threads: int
    memory_limit_bytes: Optional[int]
    probes: Tuple[str, ...]
    settings: Settings
    trust: Optional[Trust]
    device_data: Optional[str]


_SETTINGS = fields.record(
    Settings,
    {
        "warmup_s": fields.number(0, 3600),
        "warmup_max_s": fields.number(0, 3600),
        "mode": fields.choice("latency", "single-stream", "offline", "sustained"),
        "min_s": fields.number(0, DAY_S),
        "min_queries": fields.integer(1, 2**31),
        "batch": fields.integer(1, 65536),
        "sweep_threads": fields.list_of(fields.integer(1, 1024)),
        "stable_s": fields.optional(fields.number(0, DAY_S)),
        "min_rounds": fields.integer(1, 100000),
        "max_s": fields.number(0, DAY_S),
        "ci": fields.number(1e-6, 1),
        "seed": fields.integer(0, 2**63 - 1),
        "timeout_s": fields.number(0.1, 7 * DAY_S),
        "parity_samples": fields.integer(0, 1000000),
        "quality_samples": fields.optional(fields.integer(1, 2**53)),
        "wait_s": fields.number(0, DAY_S),
        "cache_bytes": fields.optional(fields.integer(0, 2**53)),
        "profile_ops": fields.flag,
        "output_samples": fields.integer(0, 2**31),
        "launches": fields.optional(fields.integer(1, 100)),
    },
)

_DATA = fields.record(
    Data,
    {
        "sha256": fields.digest,
        "task": fields.choice("classification", "regression", "none"),
        "samples": fields.integer(1, 2**53),
        "transforms": fields.mapping_of(
            fields.record(
                dict,
                {"scale": fields.number(-1e300, 1e300), "offset": fields.number(-1e300, 1e300)},
            )
        ),
        "source": fields.choice("dataset", "random"),
    },
)

_TRUST = fields.record(
    Trust,
    {
        "manifest": fields.digest,
        "signature": fields.digest,
        "signers": fields.digest,
        "allow_rollback": fields.flag,
    },
)

_RUNTIME = fields.record(
    RuntimeSpec,
    {
        "name": fields.text,
        "version": fields.optional(fields.text),
        "api": fields.choice("interpreter", "compiled", "c"),
        "exact": fields.flag,
    },
)

_BLOBS = fields.list_of(
    fields.record(Blob, {"sha256": fields.digest, "bytes": fields.integer(1, 2**53)}), 1
)

_PUSH = fields.record(
    lambda type, schema, **rest: Push(**rest),
    {
        "type": fields.choice("push"),
        "schema": fields.choice("edgepack.push/1"),
        "owner": fields.text,
        "wait_s": fields.number(0, DAY_S),
        "blobs": _BLOBS,
    },
)

_CALIBRATION = fields.record(
    lambda type, schema, **rest: Calibration(**rest),
    {
        "type": fields.choice("calibrate"),
        "schema": fields.choice("edgepack.calibrate/1"),
        "owner": fields.text,
        "wait_s": fields.number(0, DAY_S),
        "timeout_s": fields.number(0.1, DAY_S),
        "blobs": fields.list_of(
            fields.record(Blob, {"sha256": fields.digest, "bytes": fields.integer(1, 2**53)}), 0, 1
        ),
        "model": fields.optional(fields.digest),
        "tensors": fields.list_of(fields.integer(0, 2**31), 0, MAX_TENSORS),
        "data": fields.path,
        "samples": fields.integer(1, 100000),
        "seed": fields.integer(0, 2**63 - 1),
        "runtimes": fields.list_of(_RUNTIME, 1),
        "sys_path": fields.list_of(fields.text),
        "threads": fields.integer(1, 1024),
    },
)

_JOB = fields.record(
    lambda type, schema, **rest: Job(**rest),
    {
        "type": fields.choice("job"),
        "schema": fields.choice(SCHEMA),
        "job_id": fields.text,
        "owner": fields.text,
        "blobs": _BLOBS,
        "variants": fields.list_of(
            fields.record(VariantRef, {"name": fields.text, "sha256": fields.digest}), 1
        ),
        "data": fields.optional(_DATA),
        "runtimes": fields.list_of(_RUNTIME, 1),
        "sys_path": fields.list_of(fields.text),
        "accelerator": fields.text,
        "xnnpack": fields.flag,
        "delegate_options": fields.mapping_of(fields.text),
        "threads": fields.integer(1, 1024),
        "memory_limit_bytes": fields.optional(fields.integer(0, 2**53)),
        "probes": fields.list_of(fields.text),
        "settings": _SETTINGS,
        "trust": fields.optional(_TRUST),
        "device_data": fields.optional(fields.path),
    },
)


def read_push(message: Dict[str, Any]) -> Push:
    """The files that a `push` message announces. AgentError EP501, EP105."""
    found: Push = _PUSH(message, "")
    return found


def read_calibration(message: Dict[str, Any]) -> Calibration:
    """What a `calibrate` message asks for. AgentError EP501, EP105."""
    found: Calibration = _CALIBRATION(message, "")
    announced = [blob.sha256 for blob in found.blobs]
    if announced != ([found.model] if found.model else []):
        raise fields.bad("model", found.model, "the digest of the only blob, or null without one")
    return found


def read(message: Dict[str, Any]) -> Job:
    """The job of a message. AgentError EP501 (unknown field) or EP105 (bad value)."""
    job: Job = _JOB(message, "")
    announced = {blob.sha256 for blob in job.blobs}
    wanted = {"variants[%d].sha256" % i: v.sha256 for i, v in enumerate(job.variants)}
    if job.data is not None:
        wanted["data.sha256"] = job.data.sha256
    if job.trust is not None:
        wanted.update(zip(("trust.manifest", "trust.signature", "trust.signers"), job.trust[:3]))
    for where, sha256 in wanted.items():
        if sha256 not in announced:
            raise fields.bad(where, sha256, "the digest of one of the job's blobs")
    if job.device_data is not None and (job.data is not None or job.trust is not None):
        raise fields.bad(
            "device_data", job.device_data, "alone, without data of a package or its trust"
        )
    names = [variant.name for variant in job.variants]
    if len(set(names)) != len(names):
        raise fields.bad("variants", names, "a list without a name twice")
    if job.settings.timeout_s <= job.settings.max_s:
        raise fields.bad("settings.timeout_s", job.settings.timeout_s, "larger than settings.max_s")
    return job
