"""What every test may use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import postgres
from tests.agent.interpreters import RUNTIME_OF, interpreters
from tests.zygote import Zygote

if TYPE_CHECKING:
    from edgepack.store import Store

Require = Callable[[object, str], None]
HERE = Path(__file__).parent

# The files that take a minute and more, the longest first: of several processes (make test) none
# must begin one of them when the others have nothing left to do.
LONGEST = (
    "contract/test_structured_property.py",
    "contract/test_tfmot.py",
    "contract/test_build.py",
    "contract/test_slim.py",
    "e2e/test_run.py",
    "arm64/test_arm64.py",
    "agent/test_interpreters.py",
    "contract/test_old_files.py",
    "ssh/test_provision.py",
    "contract/test_structured.py",
    "e2e/test_wheel.py",
    "contract/test_search.py",
    "contract/test_quantization.py",
    "docs/test_blocks_run.py",
    "ssh/test_faults.py",
    "ssh/test_resume.py",
)

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes share the cores; TensorFlow's threads would only wait for each other.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

# The tests' models take microseconds, for which a user's default is six processes a variant; one
# does for all but the tests of launches.
os.environ |= {"EDGEPACK_RUN_LAUNCHES": "1", "EDGEPACK_BENCH_LAUNCHES": "1"}


# The folders whose tests drive real processes, links and clocks. Where a change lands, one that
# fails there is tried once more and told as "rerun" in the summary: a stall of the machine must
# not turn a change away, and a test that is said to be rerun often has to be mended.
RERUN = ("agent", "arm64", "contract", "e2e", "security", "ssh", "ui")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("EDGEPACK_CI") == "1":
        for item in items:
            if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).parts[0] in RERUN:
                item.add_marker(pytest.mark.flaky(reruns=1))
    place = {HERE / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


# How long an example takes is the machine's business, and never what a test is about.
hypothesis.settings.register_profile(
    "edgepack",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("EDGEPACK_CI") == "1",  # what lands must not depend on luck
)
hypothesis.settings.load_profile("edgepack")


def pytest_report_header() -> str:
    found = interpreters()
    missing = [version for version in RUNTIME_OF if version not in found]
    without = f"; not found: {', '.join(missing)}" if missing else ""
    return f"the agent runs on CPython {', '.join(found)}{without}"


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(condition, reason)`: skip without a tool that the test needs.

    Where EDGEPACK_CI=1, every tool is expected to be there, and its absence is a failure.
    """

    def check(condition: object, reason: str) -> None:
        if condition:
            return
        if os.environ.get("EDGEPACK_CI") == "1":
            pytest.fail(f"needed and missing: {reason}")
        pytest.skip(reason)

    return check


@pytest.fixture(scope="session")
def cluster(require: Require) -> Iterator[postgres.Cluster]:
    """A PostgreSQL server of this session's own."""
    found = postgres.binaries()
    require(found, "PostgreSQL (Debian: apt-get install postgresql)")
    assert found is not None
    made = postgres.Cluster(found)
    yield made
    made.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a store that is not there yet, on each database."""
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'made' / 'runs.db'}"
    server: postgres.Cluster = request.getfixturevalue("cluster")
    return server.database()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store on each database."""
    from edgepack.store import open_store

    with open_store(store_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What forks children for `forked_children`."""
    made = Zygote()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def forked_children(zygote: Zygote) -> Iterator[None]:
    """edgepack forks its child modules instead of starting a Python for each."""
    from edgepack.compress import checking, safety

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "run_module", zygote.run_module)
        patch.setattr(safety, "run_module", zygote.run_module)
        yield


@pytest.fixture(scope="session")
def delegate(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real external delegate: takes the last `ops` operations and computes nothing."""
    require(shutil.which("cc"), "no C compiler")
    library = tmp_path_factory.mktemp("delegate") / "libdelegate.so"
    source = Path(__file__).parent / "data" / "delegate.c"
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source]
    subprocess.run(command, check=True)
    return library
