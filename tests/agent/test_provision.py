"""Errands of an agent: the doctor's facts, and runtimes that are unpacked with care."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from .host import Event, Host, sha256

RUNTIME = {"tflite_runtime/__init__.py": "", "tflite_runtime/interpreter.py": "Interpreter = int\n"}


def wheel(files: dict[str, str], *, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, text in files.items():
            entry = zipfile.ZipInfo(name.rstrip("#"))
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return buffer.getvalue()


def message(*contents: bytes, **changed: Any) -> tuple[Event, dict[str, bytes]]:
    blobs = {sha256(content): content for content in contents}
    wheels = [
        {"name": f"w{number}-1-py3-none-any.whl", "sha256": digest, "bytes": len(content)}
        for number, (digest, content) in enumerate(blobs.items())
    ]
    lines = sorted(f"{each['name']} {each['sha256']}\n" for each in wheels)
    return {
        "type": "provision",
        "schema": "edgepack.provision/1",
        "owner": "tests",
        "wait_s": 5,
        "runtime": "tflite-runtime",
        "digest": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "wheels": wheels,
        **changed,
    }, blobs


def provision(home: Path, *contents: bytes, **changed: Any) -> list[Event]:
    errand, blobs = message(*contents, **changed)
    with Host(home) as host:
        host.send(errand)
        if "digest" not in changed:
            host.push(blobs)
        return host.rest()


def code(events: list[Event]) -> str:
    return next(event["code"] for event in events if event["event"] == "error")


def left(home: Path) -> list[str]:
    folders = [home / "runtimes", home / "blobs"]
    return [path.name for folder in folders if folder.exists() for path in folder.iterdir()]


def test_a_wheel_becomes_a_folder_on_the_path(home: Path) -> None:
    data = {**RUNTIME, "w-1.data/purelib/extra.py": "", "w-1.data/scripts/tool": "rm -rf"}
    events = provision(home, wheel(data))
    done = next(event for event in events if event["event"] == "provisioned")
    assert done["fresh"]
    assert left(home) == [done["digest"]]
    folder = home / "runtimes" / done["digest"]
    assert (folder / "tflite_runtime" / "interpreter.py").is_file()
    assert list((folder / "tflite_runtime" / "__pycache__").iterdir())
    assert (folder / "extra.py").is_file()
    assert not list(folder.rglob("tool"))
    again = provision(home, wheel(data))
    assert not next(event for event in again if event["event"] == "provisioned")["fresh"]
    assert not any(event["event"] == "stored" for event in again)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (wheel({**RUNTIME, "../evil.py": ""}), "leads out"),
        (wheel({**RUNTIME, "a/../../evil.py": ""}), "leads out"),
        (wheel({**RUNTIME, "/tmp/evil.py": ""}), "leads out"),
        (wheel({**RUNTIME, "a\\..\\evil.py": ""}), "leads out"),
        (wheel({"link": "/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "no plain file"),
        (wheel({"pipe": ""}, mode=stat.S_IFIFO | 0o600), "no plain file"),
        (wheel({"a.py": "1", "a.py#": "2"}), "twice"),
        (b"this is no zip file at all", "not a zip"),
        (wheel(RUNTIME)[:-60] + b"x" * 60, ""),
        (wheel({"a.py": "a" * 5000}).replace(b"PK\x03\x04", b"PK\x03\x05", 1), ""),
    ],
)
def test_a_bad_wheel_leaves_nothing(home: Path, content: bytes, says: str) -> None:
    events = provision(home, content)
    assert code(events) == "EP409"
    assert says in next(event["what"] for event in events if event["event"] == "error")
    assert not [name for name in left(home) if name != sha256(content)]
    assert not (home.parent / "evil.py").exists()
    assert not Path("/tmp/evil.py").exists()


def test_more_bytes_than_announced_are_refused(home: Path) -> None:
    content = wheel({"a.bin": "0" * 200_000})
    size = (200_000).to_bytes(4, "little")
    events = provision(home, content.replace(size, (1000).to_bytes(4, "little")))
    assert code(events) == "EP409"
    assert not list((home / "runtimes").iterdir())


def test_a_runtime_that_does_not_import_is_taken_away_again(home: Path) -> None:
    broken = {**RUNTIME, "tflite_runtime/interpreter.py": "import nothing_of_the_kind\n"}
    events = provision(home, wheel(broken))
    assert code(events) == "EP405"
    assert "nothing_of_the_kind" in next(e["what"] for e in events if e["event"] == "error")
    assert left(home) == []


def test_a_cut_before_it_was_tried_counts_for_nothing(home: Path, tmp_path: Path) -> None:
    """The first try ends the agent; what it leaves is neither taken for whole nor kept."""
    marker = tmp_path / "tried"
    fatal = (
        f"import os, pathlib\nmarker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists():\n    marker.touch()\n    os.kill(os.getppid(), 9)\n"
    )
    content = wheel({**RUNTIME, "tflite_runtime/interpreter.py": fatal + "Interpreter = int\n"})
    cut = provision(home, content)
    assert marker.exists()
    assert not [event for event in cut if event["event"] == "provisioned"]
    assert [name.rsplit(".", 1)[1] for name in left(home)] == ["part"]
    events = provision(home, content)
    done = next(event for event in events if event["event"] == "provisioned")
    assert done["fresh"]
    assert left(home) == [done["digest"]]


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "0" * 64},
        {"digest": "../../x", "wheels": []},
        {"digest": "x", "wheels": [{"name": "../a.whl", "sha256": "0" * 64, "bytes": 1}]},
        {"digest": "x", "wheels": [{"name": "a.whl", "sha256": "0" * 63, "bytes": 1}]},
        {"digest": "x", "wheels": [{"name": "a.whl", "sha256": "0" * 64, "bytes": 1 << 40}]},
    ],
)
def test_a_message_that_cannot_be_is_refused(home: Path, changed: dict[str, Any]) -> None:
    assert code(provision(home, wheel(RUNTIME), **changed)) == "EP501"


def test_the_doctors_facts(home: Path) -> None:
    with Host(home) as host:
        host.send({"type": "ping", "n": 7})
        assert host.until("pong")["n"] == 7
        host.send(
            {
                "type": "doctor",
                "runtimes": ["ai-edge-litert", "tflite-runtime"],
                "probes": ["generic"],
                "sys_path": ["runtime:" + "0" * 64],
            }
        )
        facts = host.until("facts")["facts"]
        assert host.rest()[-1]["event"] == "done"
    assert facts["numpy"]["unusable"] is None
    assert facts["platform"]["libc"] in ("glibc", "musl")
    assert facts["disk"]["free_bytes"] > 0
    assert "not on this device" in facts["missing_runtime"]
    assert {each["name"] for each in facts["runtimes"]} == {"ai-edge-litert", "tflite-runtime"}


def test_musl_and_narrow_userlands() -> None:
    from edgepack_agent import doctor

    assert doctor.parse_musl("musl libc (aarch64)\nVersion 1.2.4\nDynamic Loader\n") == "1.2.4"
    assert doctor.parse_musl("something else") is None
    assert doctor.architecture("aarch64", 4) == "armv7l"
    assert doctor.architecture("aarch64", 8) == "aarch64"


def test_runtimes_that_nobody_used_for_a_month_go(tmp_path: Path) -> None:
    from edgepack_agent import provisioned

    names = {name: name * 64 for name in "abcd"}
    for digest in names.values():
        folder = provisioned.folder(tmp_path, digest)
        folder.mkdir(parents=True)
        (folder / provisioned.MANIFEST).write_text("[]")
        os.utime(folder / provisioned.MANIFEST, (1, 1))
    provisioned.resolve(tmp_path, [provisioned.PREFIX + names["b"]])
    assert provisioned.remove_unused(tmp_path, keep=names["a"]) == 2
    left = sorted(folder.name for folder in (tmp_path / "runtimes").iterdir())
    assert left == [names["a"], names["b"]]
