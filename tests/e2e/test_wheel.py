"""The wheel alone, with no checkout: what is in it, and the demo as a new user runs it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT],
        check=True,
        capture_output=True,
    )
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory, environment):
    """Runs the wheel's edgepack; its dependencies are those of the running interpreter."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel],
        check=True,
    )

    def call(*args, cwd):
        return subprocess.run(
            [sys.executable, "-m", "edgepack.cli.main", *args],
            cwd=cwd,
            env={**environment, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return call


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "edgepack/_bundled/edgepack_agent/__main__.py",
        "edgepack/_bundled/profiles/raspberry-pi-4.toml",
        "edgepack/_bundled/demo/fashion_mnist_resnet.keras",
        "edgepack/_bundled/demo/fashion_mnist.npz",
        "edgepack/report/schema/run.schema.json",
        "edgepack/report/templates/report.html.j2",
    ):
        assert needed in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgepack"}
    assert not [name for name in names if "__pycache__" in name or "test" in name.split("/")]


def test_the_demo_runs_from_the_wheel(installed, tmp_path):
    done = installed("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for variant in ("float", "dynamic", "int8", "prune50-int8", "slim50-distill-int8"):
        assert variant in done.stdout
    assert "Ship " in done.stdout
    page = (tmp_path / "edgepack-demo.html").read_text()
    assert "prune50-int8" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["edgepack-demo.html"]
