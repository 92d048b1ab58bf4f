"""Which wheels fit a device: tags, markers, and pip against a folder of made-up wheels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgepack import wheels
from edgepack.errors import EdgepackError
from edgepack.wheels import NoWheelError, Target

PI = Target(python=(3, 10), arch="aarch64", glibc=(2, 31))


def facts(**platform: Any) -> dict[str, Any]:
    return {
        "python": {"version": "3.10.4", "implementation": "cpython", "abiflags": ""},
        "platform": {"arch": "aarch64", "libc": "glibc", "libc_version": "2.31", **platform},
    }


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder; no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def make(index: Path, file: str, *requires: str) -> None:
    name, version = file.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with zipfile.ZipFile(index / file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(
            f"{info}/METADATA", "\n".join(lines + [f"Requires-Dist: {r}" for r in requires]) + "\n"
        )
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {'-'.join(file[:-4].split('-')[2:])}\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def test_the_target_is_what_the_device_says() -> None:
    assert wheels.target_of(facts()) == PI
    assert str(PI) == "CPython 3.10 on aarch64 with glibc 2.31"
    tags = PI.platforms
    assert tags[0] == "manylinux_2_31_aarch64"
    assert "manylinux2014_aarch64" in tags
    assert "manylinux_2_34_aarch64" not in tags


def test_musl_has_no_wheels_and_that_is_said() -> None:
    with pytest.raises(EdgepackError, match="glibc alone") as caught:
        wheels.target_of(facts(libc="musl"))
    assert caught.value.code == "EP405"


def test_the_devices_markers_count_not_this_machines(index: Path, tmp_path: Path) -> None:
    make(
        index, "run-1.0-cp310-cp310-manylinux_2_27_aarch64.whl",
        'old-helper; python_version < "3.11"', 'arm-only; platform_machine == "aarch64"', "numpy",
    )  # fmt: skip
    make(index, "numpy-2.0-cp310-cp310-manylinux2014_aarch64.whl")
    make(index, "numpy-2.1-cp311-cp311-manylinux2014_aarch64.whl")
    make(index, "old_helper-1.0-py3-none-any.whl")
    make(index, "arm_only-1.0-py3-none-any.whl")
    found = wheels.resolve("run==1.0", PI, cache=tmp_path / "cache")
    names = [wheel.distribution for wheel in found]
    assert names == ["arm-only==1.0", "numpy==2.0", "old-helper==1.0", "run==1.0"]
    assert wheels.resolve("run==1.0", PI, cache=tmp_path / "cache") == found


def test_a_pinned_set_is_resolved_once(index: Path, tmp_path: Path) -> None:
    make(index, "run-1.0-py3-none-any.whl")
    first = wheels.resolve("run==1.0", PI, cache=tmp_path / "cache")
    (index / "run-1.0-py3-none-any.whl").unlink()
    assert wheels.resolve("run==1.0", PI, cache=tmp_path / "cache") == first


def test_what_does_not_fit_and_what_would(index: Path, tmp_path: Path) -> None:
    make(index, "run-1.0-cp312-cp312-manylinux_2_27_aarch64.whl")
    make(index, "run-1.0-cp310-cp310-manylinux_2_34_aarch64.whl")
    make(index, "run-0.9-cp310-cp310-manylinux2014_aarch64.whl")
    with pytest.raises(NoWheelError, match=r"run==1\.0"):
        wheels.resolve("run==1.0", PI, cache=tmp_path / "cache")
    assert wheels.what_would_fit("run==1.0", PI) == [
        "CPython 3.12",
        "glibc 2.34 or newer",
        "another version of run (--runtime run)",
    ]


def test_numpy_of_the_device_has_to_do_where_there_is_no_wheel(index: Path, tmp_path: Path) -> None:
    board = Target(python=(3, 11), arch="armv7l", glibc=(2, 36))
    make(index, "tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl", "numpy>=1.23")
    cache = tmp_path / "cache"
    with pytest.raises(NoWheelError):
        wheels.resolve("tflite-runtime==2.14.0", board, cache=cache)
    with pytest.raises(NoWheelError):  # built against NumPy 1
        wheels.resolve("tflite-runtime==2.14.0", board, cache=cache, numpy="2.1.0")
    found = wheels.resolve("tflite-runtime==2.14.0", board, cache=cache, numpy="1.24.2")
    assert [wheel.distribution for wheel in found] == ["tflite-runtime==2.14.0"]


def test_the_digest_is_the_agents(tmp_path: Path) -> None:
    import sys

    from edgepack.resources import agent_source

    sys.path.insert(0, str(agent_source().parent))
    from edgepack_agent import provision
    from edgepack_agent.job import Blob

    ours = [
        wheels.Wheel(file=f"{name}-1-py3-none-any.whl", sha256=name * 64, bytes=1, path="")
        for name in "ba"
    ]
    theirs = [provision.Wheel(each.file, Blob(each.sha256, 1)) for each in ours]
    assert wheels.digest_of(ours) == provision.digest_of(theirs)
