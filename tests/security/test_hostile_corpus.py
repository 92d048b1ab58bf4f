"""Every hostile file and stream ends in one coded error, and none of them gets to act.

Model files are opened in child processes as always; the children are forked here instead of
started, which is a hundred times quicker. A few go the whole way through the command line.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack import config, data, inventory, package
from edgepack.agent import bundle
from edgepack.analysis import gate
from edgepack.compress import checking, loading, recipes, safety, sources
from edgepack.compress.inspect import api
from edgepack.errors import EdgepackError
from edgepack.fleet.conversation import Conversation
from edgepack.model import Blob, Device, Job, Profile, Recipe, Signature, Variant
from edgepack.registry import Registry
from edgepack.transport.base import Counters
from tests.agent.host import DATA

from .corpus import Case, cases, say, tflite_files

ALL = cases()
MOST_BYTES = 160 << 20
"""That opening one case may add to the memory of this process at its highest."""


def forked(module: str, arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """As `checking.run_module`, with a fork of this process in place of a new Python."""
    main = importlib.import_module(module).main
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.stdout = os.fdopen(1, "w", closefd=False)
                faulthandler.disable()
                main(*arguments)
                sys.stdout.flush()
                code = 0
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
            finally:
                os._exit(code)
        end = time.monotonic() + timeout_s
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
            assert time.monotonic() < end, "the child hangs"
            time.sleep(0.002)
        out.seek(0)
        log.seek(0)
        text, errors = out.read().decode(), log.read().decode(errors="replace")
        code = os.waitstatus_to_exitcode(done[1])
        return subprocess.CompletedProcess([module], code, text, errors)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checking, "run_module", forked)
    monkeypatch.setattr(safety, "run_module", forked)


def open_model(path: Path) -> object:
    source = sources.identify(str(path))
    if source.kind != "tflite":
        return loading.load(source)
    seen = api.inspect(str(path))
    inputs = data.random_inputs(seen.signature, samples=2).real("test", slice(0, 2))
    with tempfile.TemporaryDirectory() as folder:
        return checking.run(path, inputs, Path(folder))


def open_idx(path: Path) -> object:
    folder = path.with_suffix(".d")
    folder.mkdir()
    path.rename(folder / "t10k-images-idx3-ubyte.gz")
    return data.load(str(folder))


def open_profile(path: Path) -> object:
    folder = config.config_dir() / "profiles"
    folder.mkdir(parents=True)
    path.rename(folder / "evil.toml")
    return config.load_profile("evil")


OPEN: dict[str, Callable[[Path], object]] = {
    "model": open_model,
    "data": lambda path: data.load(str(path)),
    "idx": open_idx,
    "bundle": lambda path: package.unbundle(path, path.with_suffix(".out")),
    "inventory": lambda path: inventory.read(path, "desktop"),
    "profile": open_profile,
    "recipe": lambda path: recipes.parse(str(path)),
    "budget": gate.load,
    "registry": lambda path: Registry(path).all(),
}


def test_the_corpus_is_large_and_always_the_same() -> None:
    assert len(ALL) >= 60
    again = {case.name: case.content for case in tflite_files()}
    assert {case.name: case.content for case in ALL if case.name in again} == again


def peak() -> int:
    """The most memory that this process had since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


@pytest.mark.parametrize(
    "case", [each for each in ALL if each.kind != "stream"], ids=lambda case: str(case.name)
)
def test_a_hostile_file_is_one_coded_error(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "in" / case.name
    path.parent.mkdir()
    path.write_bytes(case.content)
    before = forget_peak()
    try:
        OPEN[case.kind](path)
    except EdgepackError as error:
        assert error.code in case.codes, str(error)
        assert error.hint
        assert "Traceback" not in str(error)
    else:
        assert case.may_pass, "it was taken"
    assert peak() - before < MOST_BYTES
    allowed = {path.parent, tmp_path / "edgepack-home"}
    assert set(tmp_path.iterdir()) <= allowed, "something was written elsewhere"
    assert not Path("marker").exists()


class Scripted:
    """A session whose other end says these bytes and hangs up."""

    def __init__(self, content: bytes) -> None:
        self.counters = Counters()
        self._pieces = [content[i : i + 65536] for i in range(0, len(content), 65536)]

    def receive(self, timeout: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def send(self, data: bytes) -> None:
        pass

    def exit_status(self, timeout: float) -> int | None:
        return 0

    def log(self) -> str:
        return ""

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "case", [each for each in ALL if each.kind == "stream"], ids=lambda case: str(case.name)
)
def test_a_hostile_stream_is_one_coded_error(case: Case, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x")
    variant = Variant(
        name="int8",
        recipe=Recipe(name="int8"),
        sha256="b" * 64,
        bytes=1,
        gzip_bytes=1,
        signature=Signature(inputs=(), outputs=()),
    )
    job = Job(
        job_id="test",
        device=Device(name="board", profile="p"),
        profile=Profile(name="p", title="", arch=(), runtimes=()),
        variants=(variant,),
        data=None,
        blobs=(Blob(sha256="b" * 64, bytes=1, path=str(tmp_path / "model")),),
    )
    greeting = say(event="agent", have=True) + say(
        event="hello", protocol=1, agent="0", digest=bundle().sha256, python="3", arch="x", pid=1,
        time=0.0,
    )  # fmt: skip
    said: list[str] = []
    talk = Conversation(
        job,
        Scripted(greeting + case.content),  # type: ignore[arg-type]
        bundle(),
        compress=False,
        emit=lambda event: said.append(event.message),
        cancel=threading.Event(),
    )
    before = forget_peak()
    with pytest.raises(EdgepackError) as caught:
        talk.run()
    if case.name in ("log-of-escapes",):
        assert said
    assert caught.value.code in case.codes, str(caught.value)
    assert peak() - before < MOST_BYTES
    assert "\x1b" not in str(caught.value) + "".join(said)
    assert talk.collector.measurements(None)[0].status != "ok"


def test_a_reader_that_dies_by_a_signal_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepack.compress.inspect import flatfile

    monkeypatch.setattr(flatfile, "main", lambda *_: os.kill(os.getpid(), signal.SIGSEGV))
    path = tmp_path / "m.tflite"
    path.write_bytes((DATA / "classifier_float.tflite").read_bytes())
    with pytest.raises(EdgepackError) as caught:
        api.inspect(str(path))
    assert caught.value.code == "EP202"
    assert "SIGSEGV" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Lambda.h5", "wild-everywhere.tflite", "2^40.npz", "path0.edgepack"]
)
def test_the_whole_way_through_the_command_line(name: str, tmp_path: Path) -> None:
    case = next(each for each in ALL if each.name == name)
    (tmp_path / name).write_bytes(case.content)
    words = {
        "model": ["inspect", name],
        "data": ["run", "m.tflite", "--data", name],
        "bundle": ["package", "show", name],
    }[case.kind]
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    done = subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main", *words], capture_output=True, text=True
    )
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert any(code in done.stderr for code in case.codes), done.stderr
    assert set(tmp_path.iterdir()) <= {
        tmp_path / each for each in (name, "m.tflite", "edgepack-home")
    }
