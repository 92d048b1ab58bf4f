"""Agents that are a script: real processes and real pipes for the fleet's tests."""

from __future__ import annotations

import hashlib
import io
import random
import sys
import textwrap
import zipfile
from pathlib import Path

from edgepack.agent import AgentBundle
from edgepack.model import (
    Blob,
    Device,
    Job,
    JobSettings,
    Profile,
    Recipe,
    RuntimeSpec,
    Signature,
    Variant,
)

CONTENT = random.Random(0).randbytes(5000)
SHA = hashlib.sha256(CONTENT).hexdigest()

# What every scripted agent begins with; `say` and `hear` are the protocol's two directions.
PRELUDE = """
import base64, hashlib, json, os, sys, time, zlib
def say(event, **fields):
    text = json.dumps(dict(fields, event=event))
    sys.stdout.write(chr(30) + text + chr(10))
    sys.stdout.flush()
def hear():
    return json.loads(sys.stdin.buffer.readline() or b"{}")
def hello(**changes):
    digest = hashlib.sha256(open(sys.argv[0], "rb").read()).hexdigest()
    say("hello", **dict(dict(protocol=1, agent="0", digest=digest, python="3", arch="x",
                             pid=1, time=0.0), **changes))
def start():
    hello()
    job = hear()
    say("need", blobs=[], free_bytes=1)
    return job
def pack(*values):
    raw = b"".join(value.to_bytes(8, "little") for value in values)
    return base64.b64encode(zlib.compress(raw)).decode()
def samples(round=0, variant="int8"):
    say("samples", variant=variant, round=round, start_ns=0, ns=pack(10, 20))
def result(**changes):
    say("result", **dict(dict(variant="int8", status="ok", rounds=1), **changes))
def done():
    say("done", seconds=1.0, cancelled=False)
"""


def make_job(tmp_path: Path) -> Job:
    """A job of one variant on this machine."""
    file = tmp_path / "model.tflite"
    file.write_bytes(CONTENT)
    variant = Variant(
        name="int8",
        recipe=Recipe(name="int8"),
        sha256=SHA,
        bytes=len(CONTENT),
        gzip_bytes=1,
        signature=Signature(inputs=(), outputs=()),
    )
    return Job(
        job_id="test",
        device=Device(name="here", profile="p", transport="local", python=sys.executable),
        profile=Profile(name="p", title="", arch=(), runtimes=(RuntimeSpec(name="x"),)),
        variants=(variant,),
        data=None,
        blobs=(Blob(sha256=SHA, bytes=len(CONTENT), path=str(file)),),
        settings=JobSettings(),
    )


def scripted(script: str) -> AgentBundle:
    """The bundle of an agent that does what the script says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", PRELUDE + textwrap.dedent(script))
    data = buffer.getvalue()
    return AgentBundle(sha256=hashlib.sha256(data).hexdigest(), data=data)
