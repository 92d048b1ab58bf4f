"""Nobody but the user reads what edgepack keeps, whatever the umask is."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import config, private, wheels
from edgepack.cli import main as entry
from edgepack.compress.cache import Cache
from edgepack.model import Device
from edgepack.registry import Registry
from edgepack.searching.study import Study
from edgepack.searching.tables import Table
from edgepack.searching.values import Request
from tests import builders
from tests.agent.host import DATA

MODEL = DATA / "classifier_int8.tflite"


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(home: Path) -> list[str]:
    """What in the folder anybody else has any right to."""
    inside = [home / kind for kind in ("config", "cache", "data") if (home / kind).exists()]
    found = [each for top in inside for each in (top, *top.rglob("*"))]
    assert len(found) > 3
    return [str(each) for each in found if stat.S_IMODE(each.lstat().st_mode) & 0o077]


@pytest.fixture
def home() -> Path:
    return config.data_dir().parent


def test_a_measured_run_leaves_nothing_open(home: Path) -> None:
    assert entry._run(["run", str(MODEL), "--max-seconds", "0.5", "--ci", "0.5", "-q"]) == 0
    kept = {each.relative_to(home).parts[:2] for each in home.rglob("*")}
    assert kept >= {("data", "runs.db"), ("data", "packages"), ("cache", "device")}
    assert open_to_others(home) == []


def test_no_writer_of_its_own_leaves_anything_open(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is called as a library calls it: nothing has made the folders before."""
    Registry(config.devices_file()).add(Device(name="board", profile="desktop", host="h"))
    cache = Cache(config.cache_dir() / "builds")
    variant = replace(builders.variant("int8", 3), sha256="0" * 64)
    with cache.lock("key"):
        cache.put("key", variant, b"abc")
    Study.create("s", Request(model="m", data=None, targets=(), budgets=()))
    table = Table((), {}, config.cache_dir() / "tables" / "board.json", int8=True)
    table._write()
    _resolve_a_wheel(tmp_path / "index", monkeypatch)
    assert open_to_others(home) == []


def _resolve_a_wheel(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.mkdir()
    with zipfile.ZipFile(index / "run-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("run-1.0.dist-info/METADATA", "Name: run\nVersion: 1.0\n")
        archive.writestr("run-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("run-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    target = wheels.Target(python=(3, 11), arch="x86_64", glibc=(2, 31))
    assert wheels.resolve("run==1.0", target, cache=config.cache_dir())


def test_what_is_there_already_is_closed_and_what_a_user_set_is_kept(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o770)
    private.folder(shared / "a" / "b")
    assert [stat.S_IMODE((shared / name).stat().st_mode) for name in (".", "a", "a/b")] == [
        0o770,
        0o700,
        0o700,
    ]
    file = shared / "file"
    file.touch(mode=0o666)
    private.write(file, b"x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o666)
    private.close(shared)
    assert open_modes(shared) == {0o700, 0o600}


def open_modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.rglob("*"))}


def test_what_the_user_asked_for_follows_the_umask(tmp_path: Path) -> None:
    os.umask(0o022)
    assert entry._run(["build", str(MODEL), "-o", str(tmp_path / "out"), "-q"]) == 0
    files = [each for each in (tmp_path / "out").iterdir() if each.is_file()]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o644}
