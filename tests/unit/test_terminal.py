"""What people read: it fits, it is complete, and nothing hostile gets through."""

from __future__ import annotations

import io
import unicodedata
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from edgepack.analysis import gate, words
from edgepack.analysis.compare import compare
from edgepack.model import Budget, Failure, Run, RuntimeSpec, Status
from edgepack.report import junit, markdown, pairs, terminal, view
from edgepack.report.text import half_width, microseconds, plain, size, sparkline
from tests import builders

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07 [bold]b[/bold] <script>alert(1)</script>\r\n\u202egnp.\x9b2J | `x`"
)


def shown(run: Run, limits: dict[str, float] | None = None, width: int = 80, **console) -> str:
    out = io.StringIO()
    comparison = compare(run)
    budgets = (Budget(selector="*", limits=limits),) if limits else ()
    verdict = gate.judge(run, comparison, budgets, {})
    terminal.render(run, comparison, verdict, Console(file=out, width=width, **console))
    return out.getvalue()


def hostile_run(name: str = HOSTILE) -> Run:
    lost = builders.measurement(
        "dynamic",
        "pi4",
        status=Status.CRASHED,
        failure=Failure(code=name, what=name, hint=name),
        flags=(name,),
    )
    odd = builders.measurement(
        "int8",
        "pi4",
        60,
        runtime=RuntimeSpec(name=name, version=name),
        flags=(name, "throttled"),
        environment={name: {name: name}},
        profile=name,
    )
    return builders.run(
        replace={("pi4", "dynamic"): lost, ("pi4", "int8"): odd}, note=name, tags=(name,)
    )


def test_a_usual_run_fits_and_says_it_all() -> None:
    text = shown(
        builders.run(replace={("pi4", "dynamic"): builders.failed("dynamic")}), {"bytes": 1e9}
    )
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    joined = " ".join(text.split())
    for part in (
        "Ship int8 on every device.",
        "→ int8",
        "2.7",
        "381 kB",
        "90.60% −0.15",
        "dynamic: unreachable, EP401: no route to host. Look with: edgepack device doctor pi4",
        "prune50-int8: lower quality",
        "Gate passed: 2 of 2 checks.",
    ):
        assert part in joined, part
    assert "\x1b" not in text, "no colours off a terminal"


def test_the_size_of_batches_is_part_of_the_setting() -> None:
    batched = {("local", name): builders.measurement(name, batch=16) for name in ("float", "int8")}
    run = builders.run(["float", "int8"], ["local"], replace=batched)
    assert "ai-edge-litert 2.3.0, cpu, 1 thread, batches of 16\n" in shown(run)
    comparison = compare(run)
    text = markdown.render(run, comparison, gate.judge(run, comparison, (), {}))
    assert "cpu, 1 thread, batches of 16\n" in text
    (group,) = pairs.against(run, run)
    assert "1 thread" in group.setting and group.setting.endswith(", batches of 16")
    assert "batches" not in shown(builders.run(["float", "int8"], ["local"]))


def test_no_significance_is_said_in_words() -> None:
    base = builders.measurement("float", p50_us=100)
    run = builders.run(["float", "int8"], ["local"], replace={
        ("local", "float"): base,
        ("local", "int8"): builders.measurement("int8", rounds=base.rounds),
    })  # fmt: skip
    assert "not significant" in shown(run)


BARS = set("▁▂▃▄▅▆▇█")


class Ascii(io.TextIOWrapper):
    """A terminal's file that knows no character beyond ASCII."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii", errors="replace")

    def getvalue(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("ascii")


def test_distributions_are_drawn_where_the_terminal_can() -> None:
    run = builders.run(["float", "int8"], ["local"])
    wide, narrow = shown(run, width=120), shown(run, width=80)
    bars = {
        line.split()[1]: set(line) & set("▁▂▃▄▅▆▇█") for line in wide.splitlines() if "kB" in line
    }
    assert "min to p99" in wide and len(bars) == 2 and all(len(b) > 2 for b in bars.values())
    assert "min to p99" not in narrow and not set(narrow) & set("▁▂▃▄▅▆▇█")
    out = Ascii()
    comparison = compare(run)
    terminal.render(
        run, comparison, gate.judge(run, comparison, (), {}), Console(file=out, width=120)
    )
    assert "int8" in out.getvalue() and "min to p99" not in out.getvalue()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([], ""),
        ([0, 0], ""),
        ([0, 1, 4, 8], " ▂▅█"),
        ([5, 5], "██"),
        ([1, 1000], "▁█"),
        ([3, 0, 3], "█ █"),
    ],
)
def test_a_sparkline_is_blank_only_where_nothing_is(counts, said) -> None:
    assert sparkline(counts) == said


def test_a_failed_gate_does_not_say_ship() -> None:
    text = " ".join(shown(builders.run(), {"latency_p50_ms": 0.5}).split())
    assert "Not ready to ship: the gate failed." in text and "Ship " not in text
    assert "✗ pi4 int8: latency_p50_ms" in text


def test_a_device_that_failed_altogether_is_one_line() -> None:
    lost = {("pi4", name): builders.failed(name) for name in builders.SHAPES}
    text = " ".join(shown(builders.run(replace=lost), {"bytes": 1e9}).split())
    assert text.count("no route to host") == 1 and "all variants: unreachable, EP401" in text
    assert "No recommendation for pi4." in text and "Not ready to ship" in text


def test_what_casts_doubt_on_the_whole_device_is_said_once() -> None:
    run = builders.run(["float", "int8"], ["local"], replace={
        ("local", "float"): builders.measurement("float", p50_us=100, flags=("virtualised",)),
        ("local", "int8"): builders.measurement("int8", p50_us=50, flags=("virtualised", "busy")),
    })  # fmt: skip
    text = shown(run)
    assert text.count("virtualised") == 1 and "int8: busy" in text


def test_another_variant_that_would_pass_is_named() -> None:
    run = builders.run(["float", "int8"], ["local"])
    assert "local: float would meet every limit" in shown(run, {"quality_drop": 0.0})


def clean(text: str) -> bool:
    allowed = {"\n"}
    return all(
        c in allowed or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") for c in text
    )


def test_hostile_texts_do_not_reach_the_terminal() -> None:
    text = shown(hostile_run())
    assert clean(text)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "[bold]b[/bold]" in text, "markup is text, not style"


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_name_breaks_a_report(name: str) -> None:
    run = hostile_run(name)
    assert clean(shown(run))
    comparison = compare(run)
    verdict = gate.judge(run, comparison, (Budget(selector=name, limits={"bytes": 1}),), {})
    assert clean(markdown.render(run, comparison, verdict))
    ET.fromstring(junit.render(run, verdict))


@given(st.text(max_size=2000))
def test_plain_is_one_clean_short_line(text: str) -> None:
    made = plain(text)
    assert clean(made) and "\n" not in made and len(made) <= 400
    made.encode("utf-8")


def test_ten_megabytes_are_cut() -> None:
    assert len(plain("x" * 10_000_000)) == 400
    assert plain("a \t\n b") == "a b" and plain("é漢字 ok") == "é漢字 ok"


def test_markdown_neither_links_nor_notifies() -> None:
    run = hostile_run("@someone #1 [a](http://x) <b> | `c` https://evil.example")
    comparison = compare(run)
    text = markdown.render(run, comparison, gate.judge(run, comparison, (), {}))
    for raw in ("@", "#1", "[a]", "<b>", "https:/"):
        assert raw not in text.replace("\\" + raw[0], "").replace("\\:", ""), raw
    assert "**Ship" in text and "| **int8** |" in text


def test_junit_counts_failures_and_errors() -> None:
    run = builders.run()
    comparison = compare(run)
    budgets = (
        Budget(selector="pi4", limits={"latency_p50_ms": 0.5, "bytes": 1e9}),
        Budget(selector="pi9", limits={"bytes": 1e9}),
    )
    root = ET.fromstring(junit.render(run, gate.judge(run, comparison, budgets, {})))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    failure = root.find(".//failure")
    assert failure is not None
    assert "latency_p50_ms" in failure.get("message", "")
    empty = ET.fromstring(junit.render(run, gate.judge(run, comparison, (), {})))
    assert (empty.get("tests"), empty.get("skipped")) == ("1", "1")


def test_a_package_is_shown() -> None:
    out = io.StringIO()
    terminal.render_package(builders.run().package, Console(file=out, width=80))
    assert "prune50-int8" in out.getvalue() and "50%" in out.getvalue()


@pytest.mark.parametrize(
    ("us", "said"),
    [
        (0.1234, "0.12 µs"),
        (61.04, "61.0 µs"),
        (999.6, "1.00 ms"),
        (1203, "1.20 ms"),
        (2.5e6, "2.50 s"),
    ],
)
def test_times(us: float, said: str) -> None:
    assert microseconds(us) == said


def test_an_interval_wider_than_its_centre_has_no_figure() -> None:
    assert half_width((4.7, 4038.1), 4.8) == "±>100%"
    assert half_width((90.0, 150.0), 100.0) == "±50%"


def test_sizes() -> None:
    assert [size(n) for n in (None, 0, 999, 1000, 999_999, 1_480_000)] == [
        "–", "0 B", "999 B", "1.00 kB", "1.00 MB", "1.48 MB",
    ]  # fmt: skip


def test_no_change_has_no_minus() -> None:
    assert words.signed(-0.0, "top1", unit="") == "+0.00"
    assert words.signed(-0.00001, "top1") == "+0.00 points"
    assert words.signed(-0.0, "mae") == "+0"
    assert words.signed(-0.0015, "top1", unit="") == "−0.15"
    assert view.share(-0.0001) == "+0.0%" and view.share(-0.01) == "−1.0%"
