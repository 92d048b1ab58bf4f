"""What an agent says, as frozen values: each event of docs/protocol.md parsed and checked.

A device is not trusted: duplicate keys, NaN, wrong types, negative times and counts,
unknown events and data that unpacks to more than it may are refused (EP501). Unknown fields
are ignored.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from edgepack.transport.fields import (
    LONGEST_NS,
    Code,
    Count,
    Name,
    Packed,
    Seconds,
    Sha256,
    Text,
    checked,
)
from edgepack.transport.framing import check_json, refused, unpack
from edgepack.transport.results import (
    Calibrated,
    Ops,
    Result,
    Timeline,
)


@checked
@dataclass(frozen=True, kw_only=True)
class AgentLine:
    """The bootstrap line's word: whether the device has the agent, or why it cannot run."""

    event: Literal["agent"]
    have: bool = False
    error: Literal["no-python", "no-space", "no-home", "damaged"] | None = None
    what: Text = ""


@checked
@dataclass(frozen=True, kw_only=True)
class Hello:
    """The agent runs. time: the device's clock, Unix seconds."""

    event: Literal["hello"]
    protocol: Count
    agent: Name
    digest: Sha256
    python: Name
    arch: Name
    pid: Count
    time: float


@checked
@dataclass(frozen=True, kw_only=True)
class Leased:
    """The device is this session's alone. token: a number that only grows there."""

    event: Literal["lease"]
    token: Annotated[int, Field(ge=1, lt=2**63)]
    waited_s: Seconds = 0.0
    ttl_s: Seconds = 0.0


@checked
@dataclass(frozen=True, kw_only=True)
class Alive:
    """Nothing to tell, but the agent is there."""

    event: Literal["alive"]


@checked
@dataclass(frozen=True, kw_only=True)
class Missing:
    """A blob that the device lacks, and how many of its bytes are already there."""

    sha256: Sha256
    have: Count


@checked
@dataclass(frozen=True, kw_only=True)
class Pong:
    """The answer to a `ping`. time: the device's clock, Unix seconds."""

    event: Literal["pong"]
    n: Count
    time: float


@checked
@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the device is like, for the doctor; see `device_agents/…/doctor.py`."""

    event: Literal["facts"]
    facts: dict[str, Any]


@checked
@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """The runtime of that digest is in place. fresh: it was unpacked just now."""

    event: Literal["provisioned"]
    digest: Sha256
    fresh: bool


@checked
@dataclass(frozen=True, kw_only=True)
class Need:
    """Which blobs are missing; free_bytes: space on the cache's disk."""

    event: Literal["need"]
    blobs: tuple[Missing, ...]
    free_bytes: Count | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Stored:
    """A blob is complete, checked and in place."""

    event: Literal["stored"]
    sha256: Sha256
    bytes: Count


@checked
@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the probes read before the run."""

    event: Literal["environment"]
    environment: dict[str, Any]


@checked
@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a stage is: `done` of `total`, in the stage's own unit."""

    event: Literal["progress"]
    stage: Name
    variant: Name | None = None
    done: Seconds | None = None
    total: Seconds | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Samples:
    """One round of one variant. start_ns: monotonic; ns: see `latencies`."""

    event: Literal["samples"]
    variant: Name
    round: Count
    start_ns: Count
    ns: Packed

    def latencies(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The latencies of single inferences, in nanoseconds; EP501 for what cannot be."""
        raw = unpack(self.ns)
        if len(raw) % 8:
            raise refused("samples that are not whole 64-bit numbers")
        values = np.frombuffer(raw, dtype="<u8")
        if values.size and not 0 < int(values.min()) <= int(values.max()) <= LONGEST_NS:
            raise refused("a latency that no clock can have measured")
        return values.astype(np.uint64, copy=False)


@checked
@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of `n` evaluation samples from `first` on, stacked; shape: of the array."""

    event: Literal["outputs"]
    variant: Name
    output: Name
    dtype: Literal[
        "float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32",
        "int64", "uint64", "bool",
    ]  # fmt: skip
    shape: tuple[Count, ...]
    n: Count
    first: Count = 0
    data: Packed

    def array(self) -> np.ndarray[Any, Any]:
        """The values, shaped `shape`, in the model's own dtype."""
        dtype = np.dtype(self.dtype).newbyteorder("<")
        raw = unpack(self.data)
        elements = 1
        for axis in self.shape:  # Python integers: no overflow
            elements *= axis
        if elements * dtype.itemsize != len(raw):
            raise refused(f"outputs whose {len(raw)} bytes do not fit their shape")
        return np.frombuffer(raw, dtype=dtype).reshape(self.shape).astype(self.dtype)


@checked
@dataclass(frozen=True, kw_only=True)
class State:
    """The board's state after the run."""

    event: Literal["state"]
    state: dict[str, Any]


@checked
@dataclass(frozen=True, kw_only=True)
class Log:
    """A message for people."""

    event: Literal["log"]
    message: Text
    level: Name = "info"


@checked
@dataclass(frozen=True, kw_only=True)
class Error:
    """The job as a whole failed."""

    event: Literal["error"]
    code: Code
    what: Text
    hint: Text = ""


@checked
@dataclass(frozen=True, kw_only=True)
class Done:
    """The last event."""

    event: Literal["done"]
    seconds: Seconds = 0.0
    cancelled: bool = False


AgentEvent = (
    AgentLine | Hello | Leased | Alive | Need | Stored | Environment | Progress | Samples | Outputs
    | Result | Timeline | State | Log | Error | Done | Pong | Facts
    | Provisioned | Ops | Calibrated
)  # fmt: skip


_making = threading.Lock()


def _adapter() -> TypeAdapter[AgentEvent]:
    """Made once, which takes 60 ms of processor: a fleet's threads all ask for it at once, and a
    cache alone would let each of them make its own."""
    with _making:
        return _made_adapter()


@cache
def _made_adapter() -> TypeAdapter[AgentEvent]:
    return TypeAdapter(Annotated[AgentEvent, Field(discriminator="event")])


def parse(record: bytes) -> AgentEvent:
    """The event that a record holds; EP501 when it is none."""
    check_json(record)
    try:
        event: AgentEvent = _adapter().validate_json(record)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "event"
        raise refused(f"{place}: {fault['msg']}") from None
    return event
