"""Packages signed with OpenSSH keys: by whom, for what, and never an older one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgepack import package
from edgepack.cli import main as entry
from edgepack.errors import EdgepackError
from edgepack.package import signing
from tests import documents

from .packs import allow, keygen, write_package

Bench = list[str]


def refused(code: str, directory: Path, signers: Path) -> str:
    with pytest.raises(EdgepackError) as caught:
        signing.verify(directory, signers)
    assert caught.value.code == code
    assert caught.value.hint
    return str(caught.value)


def edgepack(*words: object) -> int:
    return entry._run([str(word) for word in words])


# ---------------------------------------------------------------- signing and verifying


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_signed_package_tells_who_signed_it(tmp_path: Path, pack: Path, kind: str) -> None:
    key = keygen(tmp_path / "key", kind)
    signing.sign(pack, key, counter=7)
    signed = signing.verify(pack, allow(tmp_path / "signers", key, "alice@example.org"))
    assert signed.signer == "alice@example.org"
    assert (signed.release.name, signed.release.counter) == ("corners", 7)
    shown = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True)
    assert signed.fingerprint in shown.stdout


def test_plain_ssh_keygen_verifies_it_too(keys: Path, pack: Path) -> None:
    signing.sign(pack, keys / "release")
    words = ["-n", "edgepack-package", "-I", "release@example.org", "-s", "manifest.json.sig"]
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", str(keys / "signers"), *words],
        input=(pack / "manifest.json").read_bytes(),
        cwd=pack,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_key_of_the_ssh_agent_signs_by_its_public_half(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keygen(tmp_path / "held")
    started = subprocess.run(
        ["ssh-agent", "-s", "-a", str(tmp_path / "socket")], capture_output=True, text=True
    )
    pid = int(started.stdout.split("SSH_AGENT_PID=")[1].split(";")[0])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "socket"))
    try:
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
        signers = allow(tmp_path / "signers", key)
        key.unlink()
        signing.sign(pack, key.with_suffix(".pub"))
    finally:
        os.kill(pid, 15)
    assert signing.verify(pack, signers).signer == "release@example.org"


def test_another_key_another_namespace_and_no_signature_are_refused(
    tmp_path: Path, keys: Path, pack: Path
) -> None:
    assert "not signed" in refused("EP209", pack, keys / "signers")
    signing.sign(pack, keys / "other")
    assert "SHA256:" in refused("EP209", pack, keys / "signers")
    only_git = allow(tmp_path / "git-only", keys / "other", options='namespaces="git"')
    refused("EP209", pack, only_git)
    over = allow(tmp_path / "over", keys / "other", options='valid-before="20200101"')
    refused("EP209", pack, over)
    refused("EP105", pack, tmp_path / "no-such-file")


def test_a_signature_is_not_carried_over_to_another_package(
    tmp_path: Path, keys: Path, pack: Path
) -> None:
    signing.sign(pack, keys / "release", counter=1)
    other = tmp_path / "other"
    write_package(other, kinds=("float",))
    signing.sign(other, keys / "release", counter=1)
    shutil.copyfile(pack / package.SIGNATURE, other / package.SIGNATURE)
    refused("EP209", other, keys / "signers")


@pytest.mark.parametrize(
    "bad", [{"name": "../up"}, {"name": ""}, {"counter": -1}, {"counter": 2**60}]
)
def test_an_unfit_release_is_refused(keys: Path, pack: Path, bad: dict[str, Any]) -> None:
    before = (pack / "manifest.json").read_bytes()
    with pytest.raises(EdgepackError) as caught:
        signing.sign(pack, keys / "release", **bad)
    assert caught.value.code == "EP105"
    assert (pack / "manifest.json").read_bytes() == before


def test_a_key_that_cannot_sign_leaves_the_package_as_it_was(tmp_path: Path, pack: Path) -> None:
    before = {file.name: file.read_bytes() for file in pack.iterdir()}
    (tmp_path / "junk").write_text("no key")
    for key in (tmp_path / "junk", tmp_path / "none"):
        with pytest.raises(EdgepackError) as caught:
            signing.sign(pack, key)
        assert caught.value.code == "EP105"
    assert {file.name: file.read_bytes() for file in pack.iterdir()} == before


def test_a_bundle_carries_the_signature(tmp_path: Path, keys: Path, pack: Path) -> None:
    signing.sign(pack, keys / "release")
    package.bundle(pack, tmp_path / "p.edgepack")
    package.unbundle(tmp_path / "p.edgepack", tmp_path / "again")
    assert signing.verify(tmp_path / "again", keys / "signers").signer == "release@example.org"


# ---------------------------------------------------------------- the command line


def test_sign_and_verify_on_the_command_line(
    keys: Path, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgepack("package", "sign", pack, "--key", keys / "release", "--counter", 5) == 0
    capsys.readouterr()
    words = ("package", "verify", pack, "--allowed-signers", keys / "signers")
    assert edgepack(*words, "--json") == 0
    shown = documents.parsed(capsys.readouterr().out)
    assert (shown["signer"], shown["name"], shown["counter"]) == (
        "release@example.org",
        "corners",
        5,
    )
    assert edgepack("package", "show", pack) == 0
    assert "5 of corners" in capsys.readouterr().out


def test_an_older_release_is_refused_unless_it_is_meant(
    keys: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify = ("package", "verify", pack, "--allowed-signers", keys / "signers")
    signing.sign(pack, keys / "release", counter=9)
    assert edgepack(*verify) == 0
    signing.sign(pack, keys / "release", counter=8)
    capsys.readouterr()
    assert edgepack(*verify) == 3
    assert "EP210" in capsys.readouterr().err
    assert edgepack(*verify, "--allow-rollback") == 0
    assert edgepack(*verify) == 3  # the override was for once
    state = tmp_path / "edgepack-home" / "data" / "accepted.json"
    assert json.loads(state.read_text()) == {"corners": 9}
    assert state.stat().st_mode & 0o777 == 0o600
    state.write_text("{")
    assert edgepack(*verify) == 3  # a damaged record is not an empty one


# ---------------------------------------------------------------- measured only when signed


@pytest.fixture
def bench(pack: Path, keys: Path) -> Bench:
    quick = ["--max-seconds", "0.5", "--ci", "0.5", "-q", "--json"]
    return ["bench", str(pack), *quick, "--allowed-signers", str(keys / "signers")]


def test_the_device_verifies_a_signed_package_before_it_measures(
    bench: Bench, pack: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signing.sign(pack, keys / "release", counter=4)
    assert edgepack(*bench) == 0
    document = json.loads(capsys.readouterr().out)
    for measured in document["measurements"]:
        assert measured["environment"]["trust"] == {
            "signer": "release@example.org",
            "release": "corners",
            "counter": 4,
            "own_signers": False,
        }
        assert "signature-unchecked" not in measured["flags"]
    accepted = tmp_path / "edgepack-home" / "cache" / "device" / "accepted.json"
    assert json.loads(accepted.read_text()) == {"corners": 4}


def test_an_unsigned_package_is_not_measured_where_it_must_be_signed(
    bench: Bench, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgepack(*bench) == 3
    assert "EP209" in capsys.readouterr().err
    assert edgepack("bench", pack, "--require-signed") == 2  # nobody may sign: EP105


def test_run_says_that_what_it_builds_is_not_signed(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.keras").write_bytes(b"never looked at")
    assert edgepack("run", tmp_path / "m.keras", "--require-signed") == 3
    assert "package sign" in capsys.readouterr().err
