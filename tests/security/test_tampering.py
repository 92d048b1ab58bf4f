"""One flipped bit anywhere in what travels: always found. Over 12,000 of them, all seeded.

The functions that verify are called as they are, in this process; `test_..._through_...` goes
the whole way for some, through the command line and the real agent.
"""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import io
import json
import os
import random
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgepack import agent, package, wheels
from edgepack.cli import main as entry
from edgepack.errors import EdgepackError
from edgepack.package import signing
from edgepack.resources import agent_source
from tests.agent.host import Host, make_job

FLIPS = {
    "contents": 3000,
    "manifest": 2000,
    "signed manifest": 120,
    "bundle": 700,
    "blob": 1500,
    "arriving blob": 1000,
    "agent": 1500,
    "wheel": 600,
}
"""How often each is flipped at random; every bit of a signature comes to another 2,400."""


@contextmanager
def flipped(file: Path, position: int, bit: int) -> Iterator[None]:
    """The file with one bit changed; as it was afterwards."""
    with file.open("r+b", buffering=0) as handle:
        before = os.pread(handle.fileno(), 1, position)
        os.pwrite(handle.fileno(), bytes([before[0] ^ 1 << bit]), position)
        try:
            yield
        finally:
            os.pwrite(handle.fileno(), before, position)


def flips(files: list[Path], count: int, seed: int = 0) -> Iterator[tuple[Path, int, int]]:
    """`count` places in the files, each byte as likely as any other."""
    rng = random.Random(seed)
    sizes = [file.stat().st_size for file in files]
    for file in rng.choices(files, weights=sizes, k=count):
        yield file, rng.randrange(file.stat().st_size), rng.randrange(8)


def found(check: Callable[[], object], *codes: str) -> bool:
    try:
        check()
    except EdgepackError as error:
        assert error.code in codes, str(error)
        return True
    return False


@pytest.fixture
def signed(pack: Path, keys: Path) -> Path:
    signing.sign(pack, keys / "release", counter=1)
    return pack


def test_there_are_ten_thousand_flips() -> None:
    assert sum(FLIPS.values()) > 10_000


def test_every_flip_in_a_packages_files_is_found(signed: Path) -> None:
    names = ["float.tflite", "int8.tflite", "eval.npz", "bom.cdx.json"]
    missed = []
    for file, position, bit in flips([signed / name for name in names], FLIPS["contents"]):
        with flipped(file, position, bit):
            if not found(lambda: package.read(signed), "EP208"):
                missed.append((file.name, position, bit))
    assert missed == []


def test_every_flip_in_a_manifest_is_found(signed: Path, keys: Path) -> None:
    digest = package.read(signed).digest
    manifest = [signed / "manifest.json"]

    def known() -> None:
        if package.read(signed).digest != digest:  # as `run --resume` does
            raise EdgepackError("EP208", "another package", hint="-")

    for file, position, bit in flips(manifest, FLIPS["manifest"]):
        with flipped(file, position, bit):
            assert found(known, "EP208"), position
    for file, position, bit in flips(manifest, FLIPS["signed manifest"], seed=1):
        with flipped(file, position, bit):
            verify = lambda: signing.verify(signed, keys / "signers")  # noqa: E731
            assert found(verify, "EP208", "EP209"), position


def test_every_flip_in_a_signature_is_found(signed: Path, keys: Path) -> None:
    file = signed / package.SIGNATURE
    raw = file.read_bytes()

    def content(armored: bytes) -> bytes:
        """As forgivingly as OpenSSH's decoder."""
        return base64.b64decode(b"".join(armored.split(b"\n")[1:-2]))

    survivors = []
    for position in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[position] ^= 1 << bit
            if not found(lambda data=changed: signing.public_key(bytes(data), file), "EP209"):
                survivors.append((position, bit))
                assert content(bytes(changed)) != content(raw), "only ssh-keygen's eyes differ"
    # What still has the form of a signature is left to ssh-keygen.
    assert len(survivors) > 100
    for position, bit in random.Random(0).sample(survivors, 100):
        with flipped(file, position, bit):
            assert found(lambda: signing.verify(signed, keys / "signers"), "EP209"), position


def test_every_flip_in_a_bundle_is_found(tmp_path: Path, signed: Path, keys: Path) -> None:
    bundle = tmp_path / "p.edgepack"
    package.bundle(signed, bundle)
    digest = package.read(signed).digest

    def check(number: int = -1) -> None:
        target = tmp_path / f"out{number}"
        opened = package.unbundle(bundle, target)
        raw = (target / package.SIGNATURE).read_bytes()
        signing.public_key(raw, bundle)
        if opened.digest != digest or raw != (signed / package.SIGNATURE).read_bytes():
            raise EdgepackError("EP209", "found by the signature", hint="-")

    check()  # finds nothing in what nobody touched
    for number, (file, position, bit) in enumerate(flips([bundle], FLIPS["bundle"])):
        with flipped(file, position, bit):
            assert found(functools.partial(check, number), "EP208", "EP209"), position


# ---------------------------------------------------------------- on the device


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(agent_source().parent))
    from edgepack_agent.blobs import BlobStore

    return BlobStore(tmp_path / "home")


def blob_of(content: bytes) -> Any:
    from edgepack_agent.job import Blob

    return Blob(hashlib.sha256(content).hexdigest(), len(content))


def test_every_flip_in_a_stored_blob_is_found(store: Any, pack: Path) -> None:
    content = (pack / "float.tflite").read_bytes()
    blob, path = blob_of(content), store.path(blob_of(content).sha256)
    rng = random.Random(2)
    for _ in range(FLIPS["blob"]):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        assert store.missing([blob]) == [(blob, 0)]


def test_every_flip_in_an_arriving_blob_is_found(store: Any, pack: Path) -> None:
    from edgepack_agent.errors import AgentError

    content = (pack / "float.tflite").read_bytes()
    blob = blob_of(content)
    rng = random.Random(3)
    for _ in range(FLIPS["arriving blob"]):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        store.append(blob, 0, changed)
        with pytest.raises(AgentError) as caught:
            store.finish(blob)
        assert caught.value.code == "EP409"
        assert not store.path(blob.sha256).exists()


def test_every_flip_in_a_stored_agent_is_found(tmp_path: Path) -> None:
    """By `intact`, the function of the bootstrap line itself."""
    tree = ast.parse(agent._BOOTSTRAP)
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "intact")
    bundle = agent.bundle()
    file = tmp_path / "agent.pyz"
    file.write_bytes(bundle.data)
    names: dict[str, Any] = {"hashlib": hashlib, "path": str(file), "digest": bundle.sha256}
    exec(compile(ast.Module([function], []), "bootstrap", "exec"), names)
    assert names["intact"]()
    for _, position, bit in flips([file], FLIPS["agent"]):
        with flipped(file, position, bit):
            assert not names["intact"](), position


def test_every_flip_in_a_cached_wheel_is_found(tmp_path: Path) -> None:
    file = tmp_path / "evil-1.0-py3-none-any.whl"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil/__init__.py", "x = 1\n" * 200)
    file.write_bytes(buffer.getvalue())
    wheel = wheels.wheel(file)
    assert wheels.intact(wheel)
    for _, position, bit in flips([file], FLIPS["wheel"]):
        with flipped(file, position, bit):
            assert not wheels.intact(wheel), position


# ---------------------------------------------------------------- the whole way


def test_flips_are_found_through_the_command_line(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["package", "verify", str(signed), "--allowed-signers", str(keys / "signers")]
    assert entry._run(words) == 0
    for file, position, bit in flips(sorted(signed.iterdir()), 40, seed=4):
        with flipped(file, position, bit):
            assert entry._run(words) == 3, (file.name, position)
    assert "Traceback" not in capsys.readouterr().err


def test_flips_are_found_through_the_agent(tmp_path: Path, pack: Path) -> None:
    job, blobs = make_job({"float": (pack / "float.tflite").read_bytes()})
    (digest, content) = next(iter(blobs.items()))
    rng = random.Random(5)
    for number in range(4):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        with Host(tmp_path / str(number) / "home") as host:
            host.send(job)
            host.until("need")
            host.chunk(digest, 0, bytes(changed), "zlib" if number % 2 else "raw")
            assert host.until("error")["code"] == "EP409"
            assert not host.all("result")


def test_flips_are_found_through_the_start_line(tmp_path: Path) -> None:
    """A stored agent that was changed is asked for again; one that arrives changed never runs."""
    from edgepack.registry import local_device

    bundle = agent.bundle()
    home = Path(os.environ["EDGEPACK_AGENT_HOME"])
    stored = home / "agent" / f"{bundle.sha256}.pyz"
    stored.parent.mkdir(parents=True)
    rng = random.Random(6)
    for _ in range(4):
        changed = bytearray(bundle.data)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        stored.write_bytes(changed)
        done = subprocess.run(
            ["/bin/sh", "-c", agent.command(local_device(), bundle)],
            input=bytes(changed),
            capture_output=True,
            timeout=60,
        )
        said = [json.loads(line[1:]) for line in done.stdout.splitlines()]
        assert [line.get("have") for line in said] == [False, None], done
        assert said[1]["error"] == "damaged"
        assert done.returncode == 4
