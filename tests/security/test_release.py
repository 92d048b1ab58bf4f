"""What a release consists of: the files in wheel and sdist, and locked requirements."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]+\])?==(\S+)(?: ; [^\\]+)? \\$", re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from hatchling.builders.wheel import WheelBuilder

    target = tmp_path_factory.mktemp("wheel")
    (file,) = WheelBuilder(str(ROOT)).build(directory=str(target), versions=["standard"])
    return zipfile.ZipFile(file).namelist()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from hatchling.builders.sdist import SdistBuilder

    target = tmp_path_factory.mktemp("sdist")
    (file,) = SdistBuilder(str(ROOT)).build(directory=str(target), versions=["standard"])
    with tarfile.open(file) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def sources(folder: str) -> set[str]:
    return {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in file.parts
    }


def test_the_wheel_holds_the_package_and_what_it_sends_to_devices(wheel: list[str]) -> None:
    assert sources("edgepack") <= set(wheel)
    agent = {name.replace("device_agents/", "edgepack/_bundled/") for name in
             sources("device_agents/edgepack_agent")}  # fmt: skip
    assert agent <= set(wheel)
    kinds = {Path(name).suffix for name in wheel if ".dist-info" not in name}
    assert kinds <= {".py", ".toml", ".json", ".j2", ".css", ".js", ".html", ".keras", ".npz",
                     ".md", ".txt", ".svg", ".typed", ""}  # fmt: skip


def test_nothing_private_or_generated_is_released(wheel: list[str], sdist: list[str]) -> None:
    bad = re.compile(r"__pycache__|\.pyc$|(^|/)\.(git|venv|env|ssh)|id_(rsa|ed25519)|\.pem$|\.db$")
    assert [name for name in (*wheel, *sdist) if bad.search(name) and name != ".gitignore"] == []


def test_the_sdist_builds_and_tests_itself(sdist: list[str]) -> None:
    for name in ("pyproject.toml", "README.md", "SECURITY.md", "Makefile", "requirements.lock"):
        assert name in sdist
    for folder in ("edgepack", "device_agents", "tests", "docs"):
        assert sources(folder) <= set(sdist)


def test_every_requirement_is_locked_with_hashes_and_without_an_address() -> None:
    text = LOCK.read_text()
    locked = {canonicalize_name(name): version for name, version in _PIN.findall(text)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, asked):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not locked: see 'The release' in docs/security.md"
        assert requirement.specifier.contains(version, prereleases=True), requirement
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_the_workflow_stores_no_secret() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert "secrets." not in workflow and "password" not in workflow
    assert "--require-hashes" in workflow
    assert "make audit" in workflow
    assert "pip_audit --strict" in (ROOT / "Makefile").read_text()  # not looked up: not clean
    assert (ROOT / ".github" / "dependabot.yml").is_file()
