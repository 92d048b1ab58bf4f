"""`make bench`: every benchmark has its section, and writes nothing but that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import __main__ as runner


def test_every_benchmark_is_run_and_every_section_is_of_one() -> None:
    modules = {command[0] for command in runner.BENCHMARKS.values()}
    assert {f"benchmarks.{name}" for name in ("startup", "transfer", "search")} <= modules
    page = runner.PAGE.read_text(encoding="utf-8")
    assert set(re.findall("<!-- begin (.*) -->", page)) <= set(runner.BENCHMARKS)
    assert page.count("<!-- begin ") == page.count("<!-- end ")


def test_a_new_benchmark_gets_a_section() -> None:
    assert runner.replaced("# P\n", "power", "x").endswith(
        "\n## Power\n\n<!-- begin power -->\n\nx\n\n<!-- end power -->\n"
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.md"
    file.write_text("# P\n\n<!-- begin a -->\nold\n<!-- end a -->\n\nprose\n\n<!-- begin b -->\n"
                    "kept\n<!-- end b -->\n")  # fmt: skip
    return file


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`scripted(name, source)`: a benchmark of that name."""
    monkeypatch.setattr(runner, "BENCHMARKS", {})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, source: str) -> None:
        (tmp_path / f"bench_{name}.py").write_text(source)
        runner.BENCHMARKS[name] = (f"bench_{name}",)

    return make


def test_a_section_is_replaced_and_the_rest_stays(page: Path, scripted) -> None:
    scripted("a", "print('| what | s |\\n| --- | --- |\\n| push | 1 |')")
    scripted("b", "import sys; print('100 ms', 'x' * 200_000); sys.exit(1)")
    assert runner.main(["--only", "a"], page) == 0
    text = page.read_text()
    assert "\nold\n" not in text and "\nkept\n" in text and "\nprose\n" in text
    assert "CPython" in text and "\n\n| what | s |\n" in text
    assert runner.main(["--only", "b"], page) == 1, "a missed bar"
    assert "**Below a bar.**\n\n```text\n100 ms" in page.read_text()


def test_a_failed_benchmark_is_said_and_leaves_its_section(page: Path, scripted, capsys) -> None:
    scripted("a", "print('half'); raise OSError('no sshd')")
    before = page.read_text()
    assert runner.main([], page) == 1
    assert page.read_text() == before
    assert "a: ended with code 1: OSError: no sshd" in capsys.readouterr().out
