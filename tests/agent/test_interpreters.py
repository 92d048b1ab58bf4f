"""The agent on every CPython that it promises, as far as they are installed here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack.agent import bundle
from edgepack.resources import agent_source

from .host import Event, Host
from .interpreters import RUNTIME_OF, interpreters

Job = Callable[..., tuple[Event, dict[str, bytes]]]


@pytest.mark.parametrize("version", interpreters())
def test_measures_with_its_runtime(
    home: Path, job: Job, environment: Callable[[str], str], version: str
) -> None:
    with Host(home, python=environment(version)) as host:
        host.serve(*job(runtimes=("ai-edge-litert", "tflite-runtime"), profile_ops=True))
        assert host.events[0]["python"].startswith(version + ".")
        for result in host.results().values():
            assert (result["status"], result["error"]) == ("ok", None)
            assert result["runtime"]["name"] == RUNTIME_OF[version]
            assert result["quality"]["value"] == 1.0
            assert result["accelerator"]["ops_total"] == 7
            assert "ops-estimated" in result["flags"], "of two microseconds a profiler tells little"
        assert all(event["estimated"] for event in host.all("ops"))
        assert len(host.all("ops")) == 2
        types = host.results()["int8"]["accelerator"]["types"]
        assert types["int8"] >= 3 and "float32" not in types
        assert len(host.results()) == 2
        assert host.exit_code() == 0


@pytest.mark.parametrize("version", interpreters())
def test_stores_blobs_without_numpy(
    home: Path, job: Job, bare: Callable[[Path], str], version: str
) -> None:
    with Host(home, python=bare(interpreters()[version])) as host:
        host.serve(*job())
        assert len(host.all("stored")) == 3
        assert [error["code"] for error in host.all("error")] == ["EP405"]


def test_tflite_runtime_is_measured(
    environment: Callable[[str], str], require: Callable[[object, str], None]
) -> None:
    """test_measures_with_its_runtime does it on 3.8 to 3.11: one of them has to be here."""
    fitting = [version for version in interpreters() if RUNTIME_OF[version] == "tflite-runtime"]
    require(fitting, "tflite-runtime needs a CPython from 3.8 to 3.11")
    assert environment(fitting[-1])


def test_serve_leaves_numpy_to_its_children(host: Host, job: Job) -> None:
    """serve must fit beside its children on a board with 512 MB."""
    message, blobs = job(min_rounds=100000, max_s=10.0)
    host.send(message)
    host.push(blobs)
    host.until("samples")
    mapped = {
        pid: "numpy" in Path(f"/proc/{pid}/maps").read_text()
        for pid in (host.process.pid, *host.workers())
    }
    assert list(mapped.values()) == [False, True, True]


def test_the_archive_is_small() -> None:
    assert len(bundle().data) < 60_000


def test_never_imports_edgepack_nor_more_than_it_may() -> None:
    allowed = {"numpy", "ai_edge_litert", "tflite_runtime", "tensorflow", "edgepack_agent"}
    for path in agent_source().rglob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ("import", "from"):
                module = words[1].split(".")[0].rstrip(",")
                assert module in allowed or module in sys.stdlib_module_names, (path, line)
