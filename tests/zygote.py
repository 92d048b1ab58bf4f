"""Child processes by fork: a Python that has imported what edgepack's child modules need.

edgepack opens every foreign file in a child (`checking.run_module`), and a new Python takes a
second to import NumPy and LiteRT. Hundreds of builds need thousands of children, so that most
tests fork them from one process instead; limits, crashes, time-outs and results are the same.
tests/e2e and tests/security start them as a user's edgepack does.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PRELOADED = (
    "ai_edge_litert.interpreter",
    "edgepack.compress.inspect.flatfile",
    "edgepack.compress.runner",
    "edgepack.compress.safety.child",
)


class Zygote:
    """The process that forks, seen from a test."""

    def __init__(self) -> None:
        from edgepack.compress.checking import child_environment

        self._environment = child_environment
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._turn = threading.Lock()

    def run_module(
        self, module: str, arguments: list[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """What `checking.run_module` does."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder, self._turn:
            out, log = Path(folder) / "out", Path(folder) / "log"
            request = {
                "module": module,
                "arguments": arguments,
                "timeout_s": timeout_s,
                "out": str(out),
                "log": str(log),
                "cwd": str(Path.cwd()),
                "environment": self._environment(),
            }
            print(json.dumps(request), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            texts = [file.read_text("utf-8", errors="replace") for file in (out, log)]
        return subprocess.CompletedProcess([module, *arguments], code, *texts)

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def serve() -> None:
    """Fork a child a line; answer with its exit code."""
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        print(_forked(json.loads(line)), flush=True)


def _forked(request: dict[str, Any]) -> int:
    for name in ("out", "log"):
        Path(request[name]).touch()
    child = os.fork()
    if child == 0:
        _become(request)
    end = time.monotonic() + request["timeout_s"]
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            Path(request["log"]).write_text(f"it took more than {request['timeout_s']:.0f} s")
            return -signal.SIGKILL
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(done[1])


def _become(request: dict[str, Any]) -> None:
    """The child: its output to the files, then the module's main, then the end."""
    code = 1
    try:
        for name, descriptor in (("out", 1), ("log", 2)):
            os.dup2(os.open(request[name], os.O_WRONLY), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        importlib.import_module(request["module"]).main(*request["arguments"])
        sys.stdout.flush()
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
