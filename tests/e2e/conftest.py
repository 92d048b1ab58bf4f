"""The real command on the real demo model; builds are shared by the tests of one session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack import resources

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.tensorflow)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environment(home: Path) -> dict[str, str]:
    once = ("EDGEPACK_RUN_LAUNCHES", "EDGEPACK_BENCH_LAUNCHES")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEPACK_") or k in once}
    return {**kept, "EDGEPACK_HOME": str(home)}


@pytest.fixture(scope="session")
def model() -> str:
    return str(resources.demo_dir() / "fashion_mnist_resnet.keras")


@pytest.fixture(scope="session")
def data() -> str:
    return str(resources.demo_dir() / "fashion_mnist.npz")


@pytest.fixture(scope="session")
def edgepack(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """`edgepack("run", …)`: the command in a process of its own, in an empty folder."""
    folder = tmp_path_factory.mktemp("work")

    def call(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgepack.cli.main", *args],
            cwd=folder,
            env={**environment, **extra},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call
