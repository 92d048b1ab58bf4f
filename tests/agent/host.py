"""A small host for the agent: starts the real zipapp and talks to it through pipes.

Every event that comes back is validated against the agent's own JSON Schemas.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from edgepack.agent import bundle
from edgepack.resources import agent_source

DATA = Path(__file__).resolve().parent.parent / "data"
WAIT_S = 60.0

Event = dict[str, Any]


def schema(name: str) -> Any:
    """A validator over one of the agent's schemas, "job" or "event"."""
    text = (agent_source() / "schema" / f"{name}.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


EVENTS = schema("event")
JOBS = schema("job")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def npz(**arrays: np.ndarray) -> bytes:
    """An evaluation file; `x_name` stands for `x:name`. Members are stored uncompressed."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("x_", "x:", 1): array for name, array in arrays.items()})
    return buffer.getvalue()


def images(samples: int = 32, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """uint8 4x4x1 images, one 2x2 corner bright, and the corner's number."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, samples)
    x = rng.integers(0, 60, (samples, 4, 4, 1), dtype=np.uint8)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 190
    return x, y


def make_job(
    variants: dict[str, bytes],
    data: bytes | None = None,
    /,
    *,
    task: str = "classification",
    transforms: dict[str, dict[str, float]] | None = None,
    runtimes: tuple[str, ...] = ("ai-edge-litert",),
    api: str = "interpreter",
    samples: int = 32,
    **changed: Any,
) -> tuple[Event, dict[str, bytes]]:
    """A job message and its blobs by digest; `changed` replaces top-level fields or settings."""
    blobs = {sha256(content): content for content in variants.values()}
    if data is not None:
        blobs[sha256(data)] = data
    settings = {
        "warmup_s": 0.01,
        "warmup_max_s": 0.05,
        "mode": "latency",
        "min_s": 0.1,
        "min_queries": 64,
        "batch": 1,
        "sweep_threads": [],
        "stable_s": None,
        "min_rounds": 3,
        "max_s": 0.3,
        "ci": 0.01,
        "seed": 7,
        "timeout_s": 60.0,
        "parity_samples": 4,
        "quality_samples": None,
        "wait_s": 15.0,
        "cache_bytes": None,
        "profile_ops": False,
        "output_samples": 0,
        "launches": 1,
    }
    settings.update({key: changed.pop(key) for key in list(changed) if key in settings})
    job = {
        "type": "job",
        "schema": "edgepack.job/1",
        "job_id": "test",
        "owner": "tests",
        "blobs": [{"sha256": key, "bytes": len(content)} for key, content in blobs.items()],
        "variants": [
            {"name": name, "sha256": sha256(content)} for name, content in variants.items()
        ],
        "device_data": None,
        "data": None
        if data is None
        else {
            "sha256": sha256(data),
            "task": task,
            "samples": samples,
            "transforms": transforms or {},
            "source": "dataset",
        },
        "runtimes": [
            {"name": name, "version": None, "api": api, "exact": False} for name in runtimes
        ],
        "sys_path": [],
        "accelerator": "cpu",
        "xnnpack": True,
        "delegate_options": {},
        "threads": 1,
        "memory_limit_bytes": None,
        "probes": ["generic"],
        "settings": settings,
        "trust": None,
    }
    return {**job, **changed}, blobs


class Host:
    """One agent process and the host's end of its pipes."""

    def __init__(
        self, home: Path, *, python: str = sys.executable, heartbeats: bool = True
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.archive = home.parent / f"{bundle().sha256}.pyz"
        self.archive.write_bytes(bundle().data)
        self.stderr = (home.parent / "stderr.log").open("ab+")
        self.process = subprocess.Popen(
            [python, "-I", str(self.archive), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, "EDGEPACK_AGENT_HOME": str(home)},
        )
        self.events: list[Event] = []
        self.noise = b""
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._write_lock = threading.Lock()
        self.heartbeats = threading.Event()
        if heartbeats:
            self.heartbeats.set()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.stderr.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(b"\x1e"):
                self._queue.put(json.loads(line[1:]))
            else:
                self.noise += line
        self._queue.put(None)

    def _beat(self) -> None:
        while self.process.poll() is None:
            time.sleep(1)
            if self.heartbeats.is_set():
                try:
                    self.send({"type": "heartbeat"})
                except (OSError, ValueError):
                    return

    def send(self, message: Event, data: bytes = b"") -> None:
        self.write(json.dumps(message).encode() + b"\n" + data)

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with self._write_lock:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def next(self, timeout: float = WAIT_S) -> Event | None:
        """The next event, None at the end. Each is held against the schema."""
        event = self._queue.get(timeout=timeout)
        if event is not None:
            EVENTS.validate(event)
            self.events.append(event)
        return event

    def until(self, kind: str, **fields: Any) -> Event:
        """Read up to the first event of that kind and with these fields."""
        while (event := self.next()) is not None:
            if event["event"] == kind and fields.items() <= event.items():
                return event
        raise AssertionError(f"no {kind} among {self.events}\n{self.log()}")

    def rest(self) -> list[Event]:
        """Read to the end and return everything that ever came."""
        while self.next() is not None:
            pass
        return self.events

    def all(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def push(self, blobs: dict[str, bytes], encoding: str = "raw", size: int = 256 << 10) -> Event:
        """Answer `need` with chunks; returns the `need`."""
        need = self.until("need")
        for missing in need["blobs"]:
            content = blobs[missing["sha256"]]
            for offset in range(missing["have"], len(content), size):
                self.chunk(missing["sha256"], offset, content[offset : offset + size], encoding)
        return need

    def chunk(self, digest: str, offset: int, content: bytes, encoding: str = "raw") -> None:
        data = zlib.compress(content) if encoding == "zlib" else content
        fields = {"sha256": digest, "offset": offset, "size": len(data), "encoding": encoding}
        self.send({"type": "chunk", **fields}, data)

    def serve(self, job: Event, blobs: dict[str, bytes]) -> list[Event]:
        """The whole conversation."""
        JOBS.validate(job)
        self.send(job)
        self.push(blobs)
        return self.rest()

    def results(self) -> dict[str, Event]:
        return {event["variant"]: event for event in self.all("result")}

    def latencies(self, variant: str) -> list[int]:
        packed = [e["ns"] for e in self.all("samples") if e["variant"] == variant]
        raw = b"".join(zlib.decompress(base64.b64decode(text)) for text in packed)
        return [int(value) for value in np.frombuffer(raw, "<u8")]

    def exit_code(self, timeout: float = WAIT_S) -> int:
        return self.process.wait(timeout)

    def log(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def workers(self) -> list[int]:
        """The process ids of the agent's children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def signal_worker(self, number: int, what: signal.Signals) -> None:
        os.kill(self.workers()[number], what)
