"""Every parser that meets bytes from elsewhere, with an example that it takes.

Fuzzed by drawn bytes (`test_parsers`, in CI) and by coverage (`python -m tests.security.fuzz`).
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgepack import config, data, inventory
from edgepack.analysis import gate
from edgepack.compress import flatgraph, recipes
from edgepack.compress.inspect import summarize
from edgepack.errors import EdgepackError
from edgepack.exporters import archive
from edgepack.package import acceptance, bundle, bundles, files, signing
from edgepack.registry import Registry
from edgepack.resources import agent_source
from edgepack.transport import events, framing
from tests import builders
from tests.agent.host import DATA, make_job

from .packs import write_package
from .planted import Parser


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x_test=np.zeros((2, 2), np.float32), y_test=np.arange(2))
    return buffer.getvalue()


def _manifest() -> bytes:
    tensor = {"name": "x", "shape": [1, 4], "dtype": "float32"}
    variant = {
        "name": "float",
        "recipe": {"name": "float"},
        "sha256": "a" * 64,
        "bytes": 1,
        "gzip_bytes": 1,
        "signature": {"inputs": [tensor], "outputs": [tensor]},
    }
    document = {
        "schema": "edgepack.package/1",
        "source": {"name": "m", "sha256": "b" * 64},
        "variants": [variant],
        "data": None,
        "tools": {},
        "files": {"float.tflite": "a" * 64},
        "release": {"name": "m", "counter": 1},
    }
    return json.dumps(document).encode()


def _bundle(scratch: Path) -> bytes:
    write_package(scratch / "pack", kinds=("int8",))
    bundle(scratch / "pack", scratch / "pack.edgepack")
    return (scratch / "pack.edgepack").read_bytes()


def _runs(scratch: Path) -> bytes:
    archive.export([builders.run(["float"], ["local"])], str(scratch / "runs"))
    return (scratch / "runs").read_bytes()


def _signature() -> bytes:
    words = [b"a key", signing.NAMESPACE.encode(), b"", b"sha512", b"a signature"]
    blob = b"SSHSIG" + struct.pack(">I", 1)
    blob += b"".join(struct.pack(">I", len(word)) + word for word in words)
    return signing._armored(blob).encode()


NAMES = (
    "manifest", "signature", "bundle", "accepted releases", "event", "stream", "profile",
    "registry", "settings", "recipe", "budget", "inventory, INI", "inventory, YAML", "npz", "idx",
    "archive of runs", "tflite: summary", "tflite: graph", "agent: job", "agent: push",
    "agent: npz",
)  # fmt: skip

PROFILE = b'title = "t"\narch = ["x"]\nruntimes = [{name = "tensorflow"}]\n[budget]\nbytes = 3\n'
DEVICES = b'[device.a]\nprofile = "desktop"\nhost = "h"\ntags = ["x"]\nport = 22\n'
SETTINGS = b'[run]\ndevice = ["a"]\nci = 0.02\n[build]\nrecipe = ["int8"]\n'
RECIPE = b'name = "r"\nseed = 1\n[[pass]]\nname = "quantize.int8"\n'
BUDGET = b'[budget."*"]\nlatency_p90_ms = 5.0\nbytes = 100\n'
INI = b"[lab:vars]\nansible_user=pi\n[lab]\npi[1:3] ansible_host=10.0.0.1 ansible_port=22\n"
YAML = b"all:\n  children:\n    lab:\n      hosts:\n        pi: {ansible_host: 10.0.0.1}\n"
EVENT = b'{"event":"result","variant":"a","status":"ok","rounds":1,"flags":["x"],"load_ns":5}'
STREAM = b"Welcome!\r\n\x1e" + b'{"event":"alive"}\n' + b"\x1e" + EVENT + b"\n"
IDX = struct.pack(">IIII", 0x803, 2, 2, 2) + bytes(8)


def _profile(path: Path) -> object:
    folder = config.config_dir() / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    path.replace(folder / "fuzzed.toml")
    return config.load_profile("fuzzed")


def _settings(path: Path) -> object:
    return config._checked(config.read_toml(path), path)


def _stream(path: Path) -> object:
    decoder = framing.Decoder()
    return [events.parse(record) for record in decoder.feed(path.read_bytes())]


def _unbundle(path: Path) -> object:
    target = path.with_suffix(".out")
    try:
        return bundles.unbundle(path, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _idx(path: Path) -> object:
    folder = path.with_suffix(".idx")
    folder.mkdir(exist_ok=True)
    for kind in ("train", "t10k"):
        shutil.copyfile(path, folder / f"{kind}-images-idx3-ubyte")
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 2) + b"\0\1")
    return data.load(str(folder))


def _agents() -> dict[str, Parser]:
    """What the agent reads of its host, and of files on the board."""
    if str(agent_source().parent) not in sys.path:
        sys.path.insert(0, str(agent_source().parent))
    from edgepack_agent import boarddata, job, protocol
    from edgepack_agent.errors import AgentError

    message, _ = make_job({"a": b"content"}, b"data")
    push = {key: message[key] for key in ("owner", "blobs")}
    push |= {"type": "push", "schema": "edgepack.push/1", "wait_s": 1.0}

    def reader(read: Callable[[Any], object]) -> Callable[[Path], object]:
        return lambda path: read(protocol.parse(path.read_bytes()))

    refusals = (AgentError,)
    return {
        "agent: job": Parser(
            good=json.dumps(message).encode(), parse=reader(job.read), refusals=refusals
        ),
        "agent: push": Parser(
            good=json.dumps(push).encode(), parse=reader(job.read_push), refusals=refusals
        ),
        "agent: npz": Parser(
            good=_npz(), parse=lambda path: boarddata.examine(str(path)), refusals=refusals
        ),
    }


@cache
def every() -> dict[str, Parser]:
    """The parsers by name."""
    with tempfile.TemporaryDirectory() as scratch:
        return _every(Path(scratch))


def _every(scratch: Path) -> dict[str, Parser]:
    return {**_hosts(scratch), **_tflite(), **_agents()}


def _hosts(scratch: Path) -> dict[str, Parser]:
    def parser(good: bytes, parse: Callable[[Path], object], file: str = "input") -> Parser:
        return Parser(good=good, parse=parse, file=file, refusals=(EdgepackError,))

    def read(path: Path) -> object:
        return inventory.read(path, "desktop")

    return {
        "manifest": parser(_manifest(), lambda p: files.parse(p.read_bytes(), p)),
        "signature": parser(_signature(), lambda p: signing.public_key(p.read_bytes(), p)),
        "bundle": parser(_bundle(scratch), _unbundle),
        "accepted releases": parser(b'{"corners": 5}', acceptance._read),
        "event": parser(EVENT, lambda p: events.parse(p.read_bytes())),
        "stream": parser(STREAM, _stream),
        "profile": parser(PROFILE, _profile, "p.toml"),
        "registry": parser(DEVICES, lambda p: Registry(p).all()),
        "settings": parser(SETTINGS, _settings),
        "recipe": parser(RECIPE, lambda p: recipes.parse(str(p)), "r.toml"),
        "budget": parser(BUDGET, gate.load),
        "inventory, INI": parser(INI, read, "i.ini"),
        "inventory, YAML": parser(YAML, read, "i.yml"),
        "npz": parser(_npz(), lambda p: data.load(str(p)), "d.npz"),
        "idx": parser(IDX, _idx),
        "archive of runs": parser(_runs(scratch), archive.read),
    }


def _tflite() -> dict[str, Parser]:
    """These run in children, where any exception is a refusal; a hang or a crash is not."""
    good = (DATA / "classifier_int8.tflite").read_bytes()
    parse: dict[str, Callable[[bytes], object]] = {"summary": summarize, "graph": flatgraph.read}
    return {
        f"tflite: {name}": Parser(
            good=good, parse=lambda p, each=each: each(p.read_bytes()), refusals=(Exception,)
        )
        for name, each in parse.items()
    }
