"""The cold path, and in Markdown the operations' time, in the reports for people."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgepack.analysis import gate
from edgepack.analysis.compare import compare
from edgepack.cli import outcome
from edgepack.cli.main import _run
from edgepack.model import OpTime, Run
from edgepack.report import html, markdown, terminal
from edgepack.store import open_store
from tests import builders

OPS = (
    OpTime(name="QUANTIZE", index=0, partition=None, ns=2_000, share=0.02),
    OpTime(name="Conv <b>", index=0, partition=0, ns=98_000, share=0.98, type="int8"),
)
WHOLE = {"process_ns": 312_000_000, "setup_ns": 900_000, "timer_ns": 120, "first_ns": 4_000_000}
TOLD = ("312 ms", "2.10 ms", "900 µs", "4.00 ms", "0.12 µs")


def run_of(**fields: object) -> Run:
    """Two variants, of which int8 was measured with these fields."""
    return builders.run(["float", "int8"], ["local"], replace={
        ("local", "int8"): builders.measurement("int8", **fields),
    })  # fmt: skip


def shown(run: Run, *, details: bool) -> str:
    out, comparison = io.StringIO(), compare(run)
    verdict = gate.judge(run, comparison, (), {})
    terminal.render(run, comparison, verdict, Console(file=out, width=80), details=details)
    return out.getvalue()


def written(run: Run, how) -> str:
    comparison = compare(run)
    return how(run, comparison, gate.judge(run, comparison, (), {}))


def test_details_tell_the_cold_start_and_a_usual_table_does_not() -> None:
    run = run_of(**WHOLE)
    lines = [line.split() for line in shown(run, details=True).splitlines()]
    heading = ["variant", "process", "load", "of", "it", "set-up", "first", "inference", "clock"]
    at = lines.index(heading)
    assert lines[at + 1][:5] == ["float", "–", "2.10", "ms", "–"]
    assert lines[at + 2] == ["int8", *" ".join(TOLD).split()]
    assert "cold start" not in shown(run, details=False)


def test_parts_that_nothing_told_have_no_column() -> None:
    text = shown(run_of(), details=True)
    assert "first inference" in text and "of it" not in text and "clock" not in text
    none = {"load_ns": None, "first_ns": None}
    run = builders.run(["float"], ["local"], replace={
        ("local", "float"): builders.measurement("float", **none),
    })  # fmt: skip
    assert "cold start" not in shown(run, details=True)
    assert "Cold start" not in written(run, markdown.render) + written(run, html.render)


def test_the_page_has_it_by_variant() -> None:
    page = written(run_of(**WHOLE), html.render)
    assert 'aria-label="Cold start on local"' in page
    cells = "".join(f"<td>{value}</td>" for value in TOLD)
    assert f'<tr><th scope="row">int8</th>{cells}</tr>' in page


def test_markdown_folds_it_and_the_operations() -> None:
    text = written(run_of(ops=OPS, **WHOLE), markdown.render)
    assert "<details><summary>Cold start</summary>\n\n" in text
    assert f"| int8 | {' | '.join(TOLD)} |" in text
    assert "<details><summary>Time by operation</summary>\n\nint8" in text
    first = text.index("| Conv \\<b\\> | XNNPACK 0 | int8 | 98.0 µs | 98.0% |")
    assert first < text.index("| QUANTIZE | own kernel | – | 2.00 µs | 2.0% |")
    assert text.count("</details>\n\n") == 2 and "\n\n</details>" in text
    assert "Time by operation" not in written(run_of(), markdown.render)


@pytest.mark.parametrize("flag", [(), ("-v",)])
def test_v_asks_for_it(flag, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    with open_store(f"sqlite:///{tmp_path / 'data' / 'runs.db'}") as store:
        store.save(run_of(**WHOLE))
    assert _run(["compare", *flag]) == 0
    assert ("cold start" in capsys.readouterr().out) == bool(flag)


def test_a_measuring_command_asks_for_it_with_v(monkeypatch) -> None:
    from edgepack.cli.showing import Showing

    asked = []
    monkeypatch.setattr(outcome, "show_conclusion", lambda *_, **given: asked.append(given))
    monkeypatch.setattr(outcome, "exit_code", lambda _: 0)
    for verbose in (0, 1):
        showing = Showing(as_json=False, quiet=True, verbose=verbose, report_file=None)
        assert showing.of("run", lambda emit: None) == 0
    assert [given["details"] for given in asked] == [False, True]
