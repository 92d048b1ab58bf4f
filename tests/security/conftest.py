"""Keys, packages, and homes of their own for the tests of trust."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .packs import allow, keygen, write_package


@pytest.fixture(autouse=True)
def _sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "edgepack-home"))
    monkeypatch.setenv("EDGEPACK_AGENT_HOME", str(tmp_path / "agent-home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]) -> Path:
    """A folder with the key pairs "release" and "other", and who may sign in "signers"."""
    require(shutil.which("ssh-keygen"), "ssh-keygen (apt-get install openssh-client)")
    folder = tmp_path_factory.mktemp("keys")
    allow(folder / "signers", keygen(folder / "release"))
    keygen(folder / "other")
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A package that is not signed."""
    write_package(tmp_path / "pack")
    return tmp_path / "pack"
