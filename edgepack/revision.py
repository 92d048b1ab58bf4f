"""Where the working folder stands in git, so that a run can be traced and found again."""

from __future__ import annotations

import os
import subprocess

# A pipeline checks out a commit and not a branch: it says the branch in these.
_PIPELINES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME")


def commit() -> str | None:
    """The commit of the working folder; None outside git."""
    return _git("rev-parse", "HEAD")


def branch() -> str | None:
    """The branch of the working folder; None outside git.

    With a detached head it is what GitHub's or GitLab's pipeline says it checked out, if any.
    """
    if commit() is None:
        return None
    told = (os.environ.get(name) for name in _PIPELINES)
    return _git("symbolic-ref", "--short", "--quiet", "HEAD") or next(filter(None, told), None)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip() or None
