"""Packages in OpenSSF's format: signed with a real key by the real library, and verified."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgepack import package
from edgepack.cli import main as entry
from edgepack.errors import EdgepackError
from edgepack.package import openssf, signing


def make_key(folder: Path, name: str) -> Path:
    """An EC key as `openssl` writes it, and its public half as NAME.pub."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / name).write_bytes(text)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    shown = key.public_key().public_bytes(serialization.Encoding.PEM, public)
    (folder / f"{name}.pub").write_bytes(shown)
    return folder / name


@pytest.fixture
def signed(pack: Path, tmp_path: Path) -> Path:
    openssf.sign(pack, make_key(tmp_path, "release"))
    return pack


def refused(code: str, pack: Path, public: Path) -> str:
    with pytest.raises(EdgepackError) as caught:
        openssf.verify(pack, public)
    assert caught.value.code == code
    return str(caught.value)


def test_a_flip_in_any_file_is_found(signed: Path, tmp_path: Path) -> None:
    public = tmp_path / "release.pub"
    openssf.verify(signed, public)
    rng = random.Random(0)
    for file in sorted(signed.iterdir()):
        good = file.read_bytes()
        for _ in range(6):
            changed = bytearray(good)
            place = rng.randrange(len(good)) if file.name != "model.sig" else good.index(b"sig") + 9
            changed[place] ^= 1 << rng.randrange(3)
            file.write_bytes(changed)
            with pytest.raises(EdgepackError) as caught:
                openssf.verify(signed, public)
            assert caught.value.code in ("EP208", "EP209")
        file.write_bytes(good)
    (signed / "added.txt").write_text("x")
    assert "added.txt" in refused("EP209", signed, public)


def test_the_formats_own_tool_verifies_it(signed: Path, tmp_path: Path) -> None:
    words = ["verify", "key", str(signed), "--signature", str(signed / "model.sig")]
    key = ["--public_key", str(tmp_path / "release.pub")]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *words, *key], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_other_keys_and_unsigned_packages_are_refused(pack: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path, "release")
    assert "no signature" in refused("EP209", pack, tmp_path / "release.pub")
    refused("EP105", pack, tmp_path / "none.pub")
    refused("EP105", pack, key)
    make_key(tmp_path, "other")
    openssf.sign(pack, key)
    refused("EP209", pack, tmp_path / "other.pub")
    (tmp_path / "junk").write_text("no key")
    before = (pack / "model.sig").read_bytes()
    with pytest.raises(EdgepackError) as caught:
        openssf.sign(pack, tmp_path / "junk")
    assert caught.value.code == "EP105"
    assert (pack / "model.sig").read_bytes() == before


def test_on_the_command_line_beside_openssh(
    pack: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_key(tmp_path, "release")
    sign = ["package", "sign", str(pack), "--format", "openssf", "--key", str(key)]
    signing.sign(pack, keys / "release", counter=4)
    assert entry._run([*sign, "--counter", "5"]) == 2  # it is in the manifest already
    assert entry._run(sign) == 0
    assert signing.verify(pack, keys / "signers").release.counter == 4
    package.bundle(pack, tmp_path / "p.edgepack")
    capsys.readouterr()
    verify = ["package", "verify", str(tmp_path / "p.edgepack")]
    public = ["--public-key", str(tmp_path / "release.pub")]
    assert entry._run([*verify, *public, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["signer"], shown["name"], shown["counter"]) == (None, "corners", 4)
    assert entry._run(verify) == 2
    signing.sign(pack, keys / "release", counter=5)  # another manifest: the old one goes
    assert not (pack / "model.sig").exists()


def test_without_the_extra_it_says_what_to_install(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model_signing", "model_signing.signing", "model_signing.hashing"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EdgepackError, match="edgepack\\[openssf\\]") as caught:
        openssf.sign(pack, make_key(tmp_path, "release"))
    assert caught.value.code == "EP109"
