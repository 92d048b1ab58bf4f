"""The device's own verdict on a package: through the real agent, without the host's help."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepack.package import signing
from edgepack.resources import agent_source
from tests.agent.host import Event, Host, make_job, sha256

Brought = tuple[Event, dict[str, bytes]]


@pytest.fixture
def bring(pack: Path, keys: Path) -> Callable[..., Brought]:
    """`bring()`: the job of the signed package `pack`; the arguments falsify it."""

    def make(
        *,
        counter: int = 5,
        key: str = "release",
        manifest: bytes | None = None,
        variant: bytes | None = None,
        allow_rollback: bool = False,
        **changed: Any,
    ) -> Brought:
        signing.sign(pack, keys / key, counter=counter)
        kinds = ("float", "int8")
        files = {kind: (pack / f"{kind}.tflite").read_bytes() for kind in kinds}
        files["int8"] = variant or files["int8"]
        job, blobs = make_job(files, (pack / "eval.npz").read_bytes(), **changed)
        proofs = [
            manifest or (pack / "manifest.json").read_bytes(),
            (pack / "manifest.json.sig").read_bytes(),
            (keys / "signers").read_bytes(),
        ]
        blobs.update({sha256(proof): proof for proof in proofs})
        job["blobs"] = [{"sha256": key, "bytes": len(data)} for key, data in blobs.items()]
        names = ("manifest", "signature", "signers")
        job["trust"] = dict(zip(names, map(sha256, proofs), strict=True))
        job["trust"]["allow_rollback"] = allow_rollback
        return job, blobs

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def serve(home: Path, brought: Brought) -> Host:
    """What a fresh agent made of the job."""
    with Host(home) as host:
        host.serve(*brought)
        assert "Traceback" not in host.log()
        return host


def refused(home: Path, brought: Brought, code: str) -> str:
    """Nothing is loaded, let alone measured."""
    host = serve(home, brought)
    assert [error["code"] for error in host.all("error")] == [code]
    assert not host.all("result") and not host.all("progress") and not host.all("environment")
    return str(host.all("error")[0]["what"])


def trusted(home: Path, brought: Brought) -> Event:
    host = serve(home, brought)
    assert {event["status"] for event in host.all("result")} == {"ok"}, host.events
    return dict(host.all("environment")[0]["environment"]["trust"] or {})


def test_a_signed_package_is_measured(home: Path, bring: Callable[..., Brought]) -> None:
    assert trusted(home, bring()) == {
        "signer": "release@example.org",
        "release": "corners",
        "counter": 5,
        "own_signers": False,
    }
    assert json.loads((home / "accepted.json").read_text()) == {"corners": 5}


def test_what_is_not_signed_as_it_must_be_is_not_measured(
    home: Path, pack: Path, bring: Callable[..., Brought]
) -> None:
    refused(home, bring(key="other"), "EP209")
    other = (pack / "manifest.json").read_bytes().replace(b'"counter": 5', b'"counter": 6')
    refused(home, bring(manifest=other), "EP209")
    float_model = (pack / "float.tflite").read_bytes()
    assert "int8.tflite" in refused(home, bring(variant=float_model), "EP209")


def accepted(home: Path, counter: int) -> None:
    """As if that release had been measured here before."""
    home.mkdir(exist_ok=True)
    (home / "accepted.json").write_text(json.dumps({"corners": counter}))


def test_an_older_release_is_refused_by_the_device(
    home: Path, bring: Callable[..., Brought]
) -> None:
    accepted(home, 9)
    assert "older than 9" in refused(home, bring(counter=8), "EP210")
    trusted(home, bring(counter=8, allow_rollback=True))
    assert json.loads((home / "accepted.json").read_text()) == {"corners": 9}
    (home / "accepted.json").write_text("[]")
    refused(home, bring(counter=10), "EP210")


@pytest.mark.parametrize("tool", ["none", "old"])
def test_without_a_fit_ssh_keygen_the_digests_are_checked_and_the_report_says_so(
    home: Path,
    pack: Path,
    tmp_path: Path,
    bring: Callable[..., Brought],
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    good, older = bring(), bring(counter=4)
    swapped = bring(counter=6, variant=(pack / "float.tflite").read_bytes())
    empty = tmp_path / "bin"
    empty.mkdir()
    if tool == "old":
        script = "#!/bin/sh\necho 'unknown option -- Y\nusage: ssh-keygen [-q]' >&2\nexit 1\n"
        (empty / "ssh-keygen").write_text(script)
        (empty / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(empty))
    host = serve(home, good)
    assert host.all("environment")[0]["environment"]["trust"]["signer"] is None
    assert all("signature-unchecked" in event["flags"] for event in host.all("result"))
    refused(home, older, "EP210")
    refused(home, swapped, "EP209")


# ---------------------------------------------------------------- a board with its own signers


@pytest.fixture
def strict(home: Path, keys: Path) -> Path:
    """The home of a board that takes signed packages only, whatever the host says."""
    home.mkdir()
    shutil.copyfile(keys / "signers", home / "allowed_signers")
    return home


def test_a_strict_board_measures_what_its_own_signers_signed(
    strict: Path, bring: Callable[..., Brought]
) -> None:
    assert trusted(strict, bring())["own_signers"] is True


def test_a_strict_board_takes_nothing_else(
    strict: Path, tmp_path: Path, keys: Path, bring: Callable[..., Brought]
) -> None:
    job, blobs = bring()
    refused(strict, ({**job, "trust": None}, blobs), "EP209")
    with Host(strict) as host:
        host.send({**job, "sys_path": [str(tmp_path)]})
        assert host.rest()[-2]["code"] == "EP209"
    with Host(strict) as host:  # a folder could be a zip among the blobs
        doctor = {"type": "doctor", "runtimes": [], "probes": [], "sys_path": [str(tmp_path)]}
        host.send(doctor)
        assert "code" in host.until("facts")["facts"]["missing_runtime"]
    (strict / "allowed_signers").write_text("")  # whom the host allows does not count
    refused(strict, bring(), "EP209")


def test_a_strict_board_takes_no_rollback_even_when_the_host_means_it(
    strict: Path, bring: Callable[..., Brought]
) -> None:
    accepted(strict, 9)
    refused(strict, bring(counter=8, allow_rollback=True), "EP210")


def test_a_strict_board_that_cannot_verify_refuses(
    strict: Path, tmp_path: Path, bring: Callable[..., Brought], monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = bring()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "ssh-keygen" in refused(strict, brought, "EP209")


def test_a_strict_board_takes_no_wheels(strict: Path) -> None:
    wheel = {"name": "evil-1-py3-none-any.whl", "sha256": "0" * 64, "bytes": 1}
    line = f"{wheel['name']} {wheel['sha256']}\n"
    with Host(strict) as host:
        host.send(
            {
                "type": "provision",
                "schema": "edgepack.provision/1",
                "owner": "test",
                "wait_s": 1,
                "runtime": "evil",
                "digest": hashlib.sha256(line.encode()).hexdigest(),
                "wheels": [wheel],
            }
        )
        host.rest()
        assert [error["code"] for error in host.all("error")] == ["EP209"]
        assert not host.all("need")


def test_the_record_of_accepted_releases_is_never_half_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(agent_source().parent))
    from edgepack_agent import trust

    home.mkdir()
    accepted(home, 1)
    monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if child == 0:
        trust._count(home / "accepted.json", "corners", 2, False)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert json.loads((home / "accepted.json").read_text()) == {"corners": 1}
