"""The agent's file and the line that starts it, run by the shells that boards have."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from edgepack import agent, resources
from edgepack.agent import AgentBundle
from edgepack.model import Device

DEVICE = Device(name="board", profile="desktop", python=sys.executable)
SHELLS = [
    pytest.param([path, *rest], id=name)
    for name, *rest in (("dash",), ("bash",), ("busybox", "ash"), ("zsh",), ("fish",), ("tcsh",))
    if (path := shutil.which(name))
]


@pytest.fixture
def small() -> AgentBundle:
    """An agent that says what is left of its standard input."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", "import sys; print(sys.argv[1:], sys.stdin.read())")
    data = buffer.getvalue()
    return AgentBundle(sha256=hashlib.sha256(data).hexdigest(), data=data)


def start(
    line: str, home: Path, stdin: bytes, shell: list[str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "EDGEPACK_AGENT_HOME": str(home)}
    command = [*(shell or ["/bin/sh"]), "-c", line]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=30)


def said(stdout: bytes) -> list[dict[str, object]]:
    return [json.loads(line[1:]) for line in stdout.splitlines() if line[:1] == b"\x1e"]


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "edgepack_agent"
    shutil.copytree(resources.agent_source(), copy)
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"of this machine")
    for file in copy.rglob("*.py"):
        os.utime(file, (1, 1))
        file.chmod(0o777)
    assert agent.bundle_of(copy) == agent.bundle()
    (copy / "__init__.py").write_text("changed = True\n")
    assert agent.bundle_of(copy).sha256 != agent.bundle().sha256


def test_it_is_made_once_however_many_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def slowly(source: Path, _more: object) -> AgentBundle:
        made.append(source)
        time.sleep(0.1)
        return AgentBundle(sha256="", data=b"")

    agent._bundle.cache_clear()
    with monkeypatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(agent, "bundle_of", slowly)
        list(pool.map(lambda _: agent.bundle(), range(8)))
    agent._bundle.cache_clear()
    assert len(made) == 1


def test_the_digest_is_that_of_the_file() -> None:
    bundle = agent.bundle()
    assert hashlib.sha256(bundle.data).hexdigest() == bundle.sha256
    held = zipfile.ZipFile(BytesIO(bundle.data)).read("modules").decode()
    names = [module.partition("\n")[0].rstrip("/") for module in held.split("\0")]
    assert len(names) == len(set(names))
    assert "edgepack_agent.serve" in names and "edgepack_agent.loader" not in names


@pytest.mark.parametrize("shell", SHELLS)
def test_the_line_stores_the_agent_once_and_leaves_the_rest_of_the_input(
    tmp_path: Path, small: AgentBundle, shell: list[str]
) -> None:
    home = tmp_path / "a home"
    line = agent.command(DEVICE, small)
    first = start(line, home, small.data + b"the job", shell)
    assert said(first.stdout) == [{"event": "agent", "have": False}]
    assert first.stdout.endswith(b"['serve'] the job\n")
    second = start(line, home, b"the job", shell)
    assert said(second.stdout) == [{"event": "agent", "have": True}]
    assert second.stdout.endswith(b"['serve'] the job\n")
    stored = home / "agent" / f"{small.sha256}.pyz"
    assert stored.read_bytes() == small.data
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600


def test_a_damaged_agent_on_the_device_is_replaced(tmp_path: Path, small: AgentBundle) -> None:
    stored = tmp_path / "agent" / f"{small.sha256}.pyz"
    stored.parent.mkdir()
    stored.write_bytes(small.data[:-1])
    done = start(agent.command(DEVICE, small), tmp_path, small.data)
    assert said(done.stdout) == [{"event": "agent", "have": False}]
    assert stored.read_bytes() == small.data


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_an_agent_cut_on_the_way_leaves_nothing(
    tmp_path: Path, small: AgentBundle, cut: int
) -> None:
    done = start(agent.command(DEVICE, small), tmp_path, small.data[:cut])
    assert done.returncode == 4
    assert list((tmp_path / "agent").iterdir()) == []


def test_a_wrong_agent_is_refused(tmp_path: Path, small: AgentBundle) -> None:
    done = start(agent.command(DEVICE, small), tmp_path, small.data[::-1])
    assert said(done.stdout)[-1]["error"] == "damaged"
    assert done.returncode == 4
    assert list((tmp_path / "agent").iterdir()) == []


def test_no_python_is_said(tmp_path: Path, small: AgentBundle) -> None:
    device = replace(DEVICE, python='/nowhere/it\'s; a "$(touch pwned)" python')
    done = start(agent.command(device, small), tmp_path, b"")
    assert said(done.stdout)[0]["error"] == "no-python"
    assert done.returncode == 4
    assert not Path("pwned").exists()


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path, small: AgentBundle) -> None:
    (tmp_path / "file").write_text("in the way")
    done = start(agent.command(DEVICE, small), tmp_path / "file" / "home", small.data)
    assert said(done.stdout)[0]["error"] == "no-home"
    assert b"Traceback" not in done.stderr
