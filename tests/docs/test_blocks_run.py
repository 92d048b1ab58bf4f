"""The code blocks of README and docs, run as a reader runs them.

Commands run in one small world (tests/docs/world.py), Python runs, budgets and profiles are
loaded. What cannot be run here is in NOT_RUN with the reason; tests/docs/test_docs.py checks that
such lines at least parse. A block says its language, so that none passes unseen.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepack import config
from tests.docs.test_docs import BLOCK, PAGES, ROOT
from tests.docs.world import World, made
from tests.ssh.sshd import SSHD, Sshd

pytestmark = [pytest.mark.tensorflow, pytest.mark.ssh, pytest.mark.usefixtures("forked_children")]

SHELL = ("sh", "bash", "shell")
RUN = (*SHELL, "python", "toml")
# Language of a block -> why it is not run.
NOT_RUN_LANGUAGES = {
    "text": "output, a drawing, or a line of a file",
    "json": "what a command prints; tests/docs/test_docs.py reads it",
}
# Part of a line -> why it is not run.
NOT_RUN = {
    "make ": "what CI itself runs",
    "pip ": "installs or fetches packages",
    "--python-version": "installs or fetches packages",
    "edgepack device provision": "fetches a runtime; tests/ssh/test_provision.py",
    "dask": "needs a cluster; tests/ssh/test_engine.py",
    " nano": "needs a Jetson's GPU",
    "-d jetson": "needs a Jetson",
    "-d board": "needs an NPU; tests/agent/test_accelerators.py",
    "-d laptop": "needs an NPU; tests/agent/test_accelerators.py",
    "round5-int8": "needs a plug-in installed; tests/unit/test_plugins.py",
    "edgepack search": "takes 20 minutes; tests/contract/test_search.py",
    "postgresql+psycopg": "needs that server; tests/unit/test_store.py",
    "--format mlflow": "takes long; tests/unit/test_exporters.py",
    "package rebuild": "takes long; tests/security/test_provenance.py",
    "ssh-keygen": "asks for a passphrase",
    "oms.": "needs edgepack[openssf]; tests/security/test_openssf.py",
    "clinic-": "needs boards with data; tests/ssh/test_calibration.py",
}
# A verdict is no failure of the command: 1 a limit was exceeded, 4 something was not measured.
VERDICTS = ("gate", "doctor", "--budget", "--fail-on")


def lines(text: str) -> Iterator[str]:
    """The commands of a block, continued lines joined, comments dropped."""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip().removeprefix("$ ").split(" #")[0].strip()
        if line and not line.startswith("#"):
            yield line


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]
) -> Iterator[World]:
    require(SSHD.exists(), "OpenSSH's sshd (apt-get install openssh-server)")
    Path("/run/sshd").mkdir(exist_ok=True)
    board = Sshd(tmp_path_factory.mktemp("board"))
    board.start()
    try:
        with made(tmp_path_factory.mktemp("docs"), board) as ready:
            yield ready
    finally:
        board.stop()


def fences(text: str) -> list[str]:
    """The lines that open a fenced block, however it is marked and indented."""
    opened, found = "", []
    for line in map(str.strip, text.splitlines()):
        mark = re.match(r"`{3,}|~{3,}", line)
        if mark and not opened:
            opened = mark[0]
            found.append(line)
        elif opened and line.startswith(opened) and not line.strip(opened[0]):
            opened = ""
    return found


SEEN: set[str] = set()


def run(world: World, line: str) -> None:
    """One line of a shell block, where it was not run before."""
    if line in SEEN or any(part in f" {line}" for part in NOT_RUN):
        return
    SEEN.add(line)
    line = world.adapted(line)
    if not line.startswith("edgepack "):
        subprocess.run(["bash", "-ec", line], check=True)
        return
    words = [
        str(Path(word).expanduser()) if word[:1] == "~" else word for word in shlex.split(line)
    ]
    allowed = (0, 1, 4) if any(word in VERDICTS for word in words) else (0,)
    assert world.call(*words[1:]) in allowed, line


def save_as_metrics(text: str) -> None:
    """The block as the module that a page's commands name; another page's is forgotten."""
    Path("metrics.py").write_text(text)
    shutil.rmtree("__pycache__", ignore_errors=True)
    sys.modules.pop("metrics", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_run(page: Path, world: World) -> None:
    from edgepack.analysis import gate

    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in SHELL:
            for line in lines(text):
                run(world, line)
        elif language == "python" and "edgepack.search" not in text:  # takes 20 minutes
            save_as_metrics(text)
            exec(compile(text, page.name, "exec"), {"__name__": "block"})
        elif language == "toml" and "extends" in text:
            (config.config_dir() / "profiles").mkdir(exist_ok=True)
            (config.config_dir() / "profiles" / "block.toml").write_text(text)
            assert config.load_profile("block")
        elif language == "toml":
            Path("block.toml").write_text(text)
            assert gate.load(Path("block.toml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_is_run_or_said_not_to_be(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    openings = fences(text)
    assert [line for line in openings if line[3:] not in (*RUN, *NOT_RUN_LANGUAGES)] == []
    assert len(openings) == len(BLOCK.findall(text)), "a block that the tests do not see"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```sh\nls\n```\n```python\n1\n```\n", ["```sh", "```python"]),
        ("```\nls\n```\n", ["```"]),
        ("- so:\n\n    ~~~ c++\n    x\n    ~~~\n", ["~~~ c++"]),
        ("````sh\n```\n````\n", ["````sh"]),
    ],
)
def test_no_fence_is_overlooked(text: str, found: list[str]) -> None:
    assert fences(text) == found


def test_what_is_not_run_is_still_there() -> None:
    """A reason that stands for nothing any more is taken out."""
    said = "\n".join(
        f" {line}"
        for page in PAGES
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in lines(text)
        if language in SHELL
    )
    assert [part for part in NOT_RUN if part not in said] == []
