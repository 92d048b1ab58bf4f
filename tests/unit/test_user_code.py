"""What the digest of a user's module covers: the code it brings along, and no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgepack.compress.user_code import module_digest

FILES = {
    "digest_net.py": "import os\nimport numpy\nfrom digest_blocks import act\nraise SystemExit\n",
    "digest_blocks.py": "def act():\n    from digest_deep import maths\n",
    "digest_deep/__init__.py": "from . import maths as m\n",
    "digest_deep/maths.py": "from ..nowhere import x\nfrom .more.steps import *\n",
    "digest_deep/more/steps.py": "import digest_net\n",
    "digest_deep/unused.py": "",
    "digest_alone.py": "",
    "digest_broken.py": "this is no Python\n",
    "venv/lib/site-packages/digest_deep2.py": "",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("digest_net.py", True),
        ("digest_blocks.py", True),
        ("digest_deep/__init__.py", True),
        ("digest_deep/maths.py", True),
        ("digest_deep/more/steps.py", True),
        ("digest_deep/unused.py", False),
        ("digest_alone.py", False),
    ],
)
def test_what_a_module_imports_is_part_of_its_digest(
    here: Path, changed: str, counts: bool
) -> None:
    before = module_digest("digest_net")
    assert module_digest("digest_net") == before
    with (here / changed).open("a") as file:
        file.write("# changed\n")
    assert (module_digest("digest_net") != before) is counts
    assert not any(name.startswith("digest_") for name in sys.modules)  # nothing was run


def test_all_of_the_package_that_is_named_counts(here: Path) -> None:
    before = module_digest("digest_deep.maths")
    (here / "digest_deep/unused.py").write_text("x = 1\n")
    after = module_digest("digest_deep.maths")
    assert after != before
    (here / "digest_net.py").write_text("# that maths imports by way of more.steps\n")
    assert module_digest("digest_deep.maths") != after


def test_code_beside_the_module_counts_wherever_one_is(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(here))
    at_home = module_digest("digest_net")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert module_digest("digest_net") == at_home
    (here / "digest_blocks.py").write_text("act = None\n")
    assert module_digest("digest_net") != at_home


def test_what_is_installed_does_not_count(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = here / "venv/lib/site-packages"
    monkeypatch.syspath_prepend(str(installed))
    (here / "digest_alone.py").write_text("import digest_deep2, numpy, json\n")
    before = module_digest("digest_alone")
    (installed / "digest_deep2.py").write_text("x = 1\n")
    assert module_digest("digest_alone") == before
    named = module_digest("digest_deep2")
    (installed / "digest_deep2.py").write_text("x = 2\n")
    assert module_digest("digest_deep2") != named


@pytest.mark.parametrize("name", ["digest_nowhere", "sys", ""])
def test_what_is_no_module_on_disk_is_said(here: Path, name: str) -> None:
    with pytest.raises(ImportError, match="no module named"):
        module_digest(name)


def test_a_text_that_is_no_python_is_left_to_importing_it(here: Path) -> None:
    assert module_digest("digest_broken")
