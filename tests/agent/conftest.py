"""Homes, jobs and Python environments for the agent's tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepack.resources import agent_source

from .host import DATA, Host, images, make_job, npz
from .interpreters import RUNTIME_OF, interpreters

sys.path.insert(0, str(agent_source().parent))  # its pure functions are tested in-process

TRANSFORMS = {"image": {"scale": 1 / 255, "offset": 0.0}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    with Host(home) as running:
        yield running


@pytest.fixture(scope="session")
def classifiers() -> dict[str, bytes]:
    return {kind: (DATA / f"classifier_{kind}.tflite").read_bytes() for kind in ("float", "int8")}


@pytest.fixture
def job(classifiers: dict[str, bytes]) -> Callable[..., tuple[dict, dict[str, bytes]]]:
    """`job(**changes)`: both classifiers on 32 labelled images."""

    def make(**changes: object) -> tuple[dict, dict[str, bytes]]:
        x, y = images()
        data = npz(x_image=x, y=y)
        return make_job(classifiers, data, **{"transforms": TRANSFORMS, **changes})

    return make


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config, require: Callable[[object, str], None]):
    """`environment("3.8")`: a Python of that version with NumPy and its runtime.

    Made with this Python's pip in pytest's cache, once; not compiled, of which most would be for
    nothing. Without the interpreter or without pip's index the test is skipped with the reason.
    """

    def make(version: str) -> str:
        base = interpreters().get(version)
        require(base, f"CPython {version} is not installed here")
        runtime = RUNTIME_OF[version]
        folder = pytestconfig.cache.mkdir(f"agent-py{version}-{runtime}")
        python, ready = folder / "bin" / "python", folder / "ready"
        if not ready.exists():
            subprocess.run([base, "-m", "venv", "--without-pip", "--clear", folder], check=True)
            packages = folder / "lib" / f"python{version}" / "site-packages"
            install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
            install += ["--only-binary=:all:", "--python-version", version, "--target", packages]
            numpy = "numpy<2" if runtime == "tflite-runtime" else "numpy"
            command = [sys.executable, *install, numpy, runtime]
            done = subprocess.run(command, capture_output=True, text=True)
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            require(done.returncode == 0, f"no environment with {runtime}: {last}")
            ready.touch()
        return str(python)

    return make


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """`bare(python)`: that Python in an environment with no package at all."""

    def make(python: Path) -> str:
        folder = tmp_path_factory.mktemp("bare")
        subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
        return str(folder / "bin" / "python")

    return make
