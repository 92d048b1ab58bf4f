"""Hostile names never become shell words, paths elsewhere, or markup: 900 drawn cases."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgepack import agent, package
from edgepack.agent import AgentBundle
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.package import signing
from edgepack.registry import check_name

# Bytes that mean something to some shell, in runs and among letters.
_SHELL = st.text(
    st.sampled_from("';\"`$(){}[]<>|&*?!~#%^\\ \t\n=,:@-+.abc/"), min_size=1, max_size=30
)
_ANY = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1)
HOSTILE = _SHELL | _ANY | st.sampled_from(
    ["$(touch marker)", "`touch marker`", "'; touch marker; '", "\n touch marker \n", "-c", "--",
     "x'$(touch marker)'", "!!", "%s%n", "~root", "../../x", "{a,b}", "\\'; touch marker #"]
)  # fmt: skip
SHELLS = [shell for shell in ("sh", "bash", "dash", "fish", "zsh", "tcsh") if shutil.which(shell)]
_BUNDLE = AgentBundle(sha256="0" * 64, data=b"x")


def said_by(shell: str, python: str, folder: Path) -> bytes:
    """What the start line prints when the device's login shell is this one."""
    line = agent.command(Device(name="d", profile="p", python=python), _BUNDLE)
    # On the path is a "python" that is found only by exactly its own name.
    done = subprocess.run(
        [shell, "-c", line], cwd=folder, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(python=HOSTILE)
def test_a_devices_python_is_one_word_in_every_shell(
    shell: str, tmp_path: Path, python: str
) -> None:
    """Such a Python is not there; that, and nothing else, is what the line finds."""
    said = said_by(shell, f"/nowhere/{python}", tmp_path)
    assert b'"error":"no-python"' in said, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_python_with_a_hostile_name_is_run_under_that_name(shell: str, tmp_path: Path) -> None:
    """The quoting loses nothing: the line starts exactly the file that was named."""
    for number, name in enumerate(("a b", "it's", "$(x)", 'q"q', "new\nline", "back\\slash", "!!")):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = folder / name
        script.write_text("#!/bin/sh\nprintf 'I am it'\n")
        script.chmod(0o755)
        assert said_by(shell, str(script), tmp_path).endswith(b"I am it"), name


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_a_hostile_device_name_is_refused_or_plain(name: str) -> None:
    try:
        check_name(name)
    except EdgepackError as error:
        assert error.code == "EP105"
    else:
        assert name.replace(".", "").replace("_", "").replace("-", "").isalnum()
        assert name.isascii() and "/" not in name and not name.startswith(("-", "."))


@settings(max_examples=300, deadline=None)
@example(name="bom.cdx.json", digest=":")
@given(name=HOSTILE, digest=HOSTILE)
def test_a_hostile_manifest_names_no_file_elsewhere(name: str, digest: str) -> None:
    import json

    from edgepack.package import files

    manifest = {
        "schema": package.SCHEMA,
        "source": {"name": name, "sha256": digest},
        "variants": [],
        "data": None,
        "tools": {name: digest},
        "files": {name: digest},
    }
    with pytest.raises(EdgepackError) as caught:
        files.parse(json.dumps(manifest).encode(), Path("manifest.json"))
    assert caught.value.code == "EP208"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=HOSTILE)
def test_a_hostile_release_name_is_refused_before_anything_is_signed(name: str) -> None:
    from edgepack.model import Release

    try:
        signing._check_release(Release(name=name, counter=1))
    except EdgepackError as error:
        assert error.code == "EP105"
    else:
        assert "/" not in name and not name.startswith((".", "-"))
