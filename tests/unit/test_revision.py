"""The branch that a run is stored with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgepack import revision


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def git(*arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def test_branch_and_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-b", "topic/x")
    git("commit", "--allow-empty", "-m", "one")
    found = revision.commit()
    assert found is not None
    assert len(found) == 40
    assert revision.branch() == "topic/x"
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "main")
    assert revision.branch() == "topic/x", "what is checked out counts first"
    git("checkout", "--detach")
    assert revision.branch() == "main"
    monkeypatch.setenv("GITHUB_HEAD_REF", "pull")
    assert revision.branch() == "pull"


def test_outside_git_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    assert (revision.commit(), revision.branch()) == (None, None)
