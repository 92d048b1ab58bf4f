"""Every command that brings a model to a board asks for the signature that the board wants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepack import config, library
from edgepack.cli import main as entry
from edgepack.errors import EdgepackError
from edgepack.package import signing
from tests.agent.host import DATA, Host, make_job, sha256

MODEL = str(DATA / "classifier_int8.tflite")
QUICK = ("--max-seconds", "0.5", "--ci", "0.5", "-q")
Refused = Callable[..., str]


@pytest.fixture
def wary(keys: Path) -> str:
    """A registered device with allowed signers. Nobody listens there: a connection is EP401."""
    file = config.devices_file()
    file.parent.mkdir(parents=True)
    file.write_text(
        '[device.wary]\nprofile = "desktop"\nhost = "127.0.0.1"\nport = 9\n'
        f'allowed_signers = "{keys / "signers"}"\n'
    )
    return "wary"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(exit code, error code, *words)`: what the command says."""

    def check(exit_code: int, code: str, *words: object) -> str:
        assert entry._run([str(word) for word in words]) == exit_code
        said = capsys.readouterr().err
        assert f"error {code}:" in said
        return said

    return check


def ways(pack: Path, signers: Path) -> dict[str, list[object]]:
    """Command lines that would bring what nobody signed to a board that wants a signature."""
    asked = ["--require-signed", "--allowed-signers", signers]
    return {
        "push asked": ["push", pack, *asked],
        "push to a wary device": ["push", pack, "-d", "wary"],
        "bench asked": ["bench", pack, *asked],
        "bench on a wary device": ["bench", pack, "-d", "wary"],
        "run asked": ["run", MODEL, *asked],
        "run on a wary device": ["run", MODEL, "-d", "wary"],
        "search on a wary device": ["search", MODEL, "-d", "wary"],
        "demo on a wary device": ["demo", "-d", "wary"],
    }


@pytest.mark.parametrize("way", list(ways(Path(), Path())))
def test_no_command_brings_an_unsigned_package(
    way: str, pack: Path, keys: Path, wary: str, refused: Refused, tmp_path: Path
) -> None:
    refused(3, "EP209", *ways(pack, keys / "signers")[way])
    device = tmp_path / "edgepack-home" / "cache" / "device"
    assert not (device / "blobs").exists(), "something went there"


def test_the_library_asks_as_well(pack: Path, keys: Path, wary: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        library.bench(pack, require_signed=True, allowed_signers=keys / "signers")
    assert caught.value.code == "EP209"
    with pytest.raises(EdgepackError) as caught:
        library.search(MODEL, devices=[wary])
    assert caught.value.code == "EP209"


def test_a_signed_package_is_pushed_with_its_proofs(
    pack: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signing.sign(pack, keys / "release", counter=3)
    asked = ["--allowed-signers", str(keys / "signers")]
    assert entry._run(["push", str(pack), *asked, "--require-signed"]) == 0
    capsys.readouterr()
    assert entry._run(["push", str(pack), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"][0]["sent_bytes"] == 0
    blobs = config.cache_dir() / "device" / "blobs"
    proofs = (pack / "manifest.json", pack / "manifest.json.sig", keys / "signers")
    assert {sha256(file.read_bytes()) for file in proofs} <= {each.name for each in blobs.iterdir()}


def test_an_older_release_is_not_pushed(pack: Path, keys: Path, refused: Refused) -> None:
    words = ("push", pack, "--allowed-signers", keys / "signers")
    signing.sign(pack, keys / "release", counter=9)
    assert entry._run([str(word) for word in words]) == 0
    signing.sign(pack, keys / "release", counter=8)
    refused(3, "EP210", *words)
    assert entry._run([str(word) for word in (*words, "--allow-rollback")]) == 0


# ---------------------------------------------------------------- what a signature cannot cover


@pytest.mark.parametrize("chosen", ["asked", "wary"])
@pytest.mark.parametrize(
    ("option", "words"),
    [("--bisect", ["--bisect"]), ("--data", ["--data", "device:/data/eval.npz"])],
)
def test_changed_models_and_data_of_the_board_are_refused_beside_a_signature(
    chosen: str, option: str, words: list[str], pack: Path, keys: Path, wary: str, refused: Refused
) -> None:
    signing.sign(pack, keys / "release", counter=1)
    demand = ["--allowed-signers", keys / "signers"] if chosen == "asked" else ["-d", wary]
    assert option in refused(2, "EP105", "bench", pack, *demand, *words)


def test_a_board_refuses_them_whatever_the_host_says(tmp_path: Path, keys: Path) -> None:
    """Its own signers make it strict; no job gets past them without the manifest's digests."""
    home = tmp_path / "board"
    home.mkdir()
    (home / "allowed_signers").write_bytes((keys / "signers").read_bytes())
    content = (DATA / "classifier_int8.tflite").read_bytes()
    job, blobs = make_job({"int8": content}, None, device_data="/data/eval.npz")
    with Host(home) as host:
        host.serve(job, blobs)
        assert [error["code"] for error in host.all("error")] == ["EP209"]
    digest = sha256(content)
    trust: dict[str, Any] = dict.fromkeys(("manifest", "signature", "signers"), digest)
    with Host(home) as host:
        host.send({**job, "trust": {**trust, "allow_rollback": False}})
        host.rest()
        assert [error["code"] for error in host.all("error")] == ["EP105"]
        assert not host.all("need")
