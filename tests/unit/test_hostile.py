"""Whatever a device, a file or a user says: every rendering is whole, and nothing gets out of it.

The terminal gets no control character, a page no element or attribute of another's making,
a pipeline no command, XML and JSON stay well formed, and nothing crashes.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from edgepack.analysis import gate, limits
from edgepack.analysis.across import Baseline
from edgepack.analysis.across import pairs as paired
from edgepack.analysis.compare import compare
from edgepack.analysis.gains import by_profile
from edgepack.cli import main as entry
from edgepack.cli import searching
from edgepack.cli.main import say_error
from edgepack.errors import EdgepackError
from edgepack.live import Board
from edgepack.model import (
    Accelerator,
    Agreement,
    Confusion,
    Divergence,
    Event,
    Failure,
    Measurement,
    OpTime,
    Quality,
    Run,
    RuntimeSpec,
    Status,
    Transfer,
)
from edgepack.report import (
    document,
    github,
    html,
    junit,
    markdown,
    notebook,
    pairs,
    terminal,
    terminal_runs,
)
from edgepack.searching.answers import Answer, Conclusion
from edgepack.searching.asking import Found
from tests import builders

NASTY = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)' x='\" autofocus onfocus=\"alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "a\r\n::error title=x::owned\n::stop-commands::t",
    "##[error]owned ##vso[task.complete]",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "]]>&lt;!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "| a | b |\n| --- | [x](javascript:alert(1)) @all #1 `code`",
    "[bold]x[/bold] [link=http://evil]y[/link] [/]",
    "[/]",
    "\ud800\udfff\x00",
    "../../etc/passwd",
    "NaN",
    "",
)
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=40))
numbers = st.one_of(
    st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.sampled_from([0, -1])
)
anything = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
timelines = st.fixed_dictionaries(
    {
        "columns": st.one_of(anything, st.just(["t_s", "temperature_c", "power_w"])),
        "rows": st.one_of(anything, st.lists(st.lists(numbers, max_size=4), max_size=4)),
        "disturbances": st.one_of(
            anything,
            st.lists(
                st.fixed_dictionaries({"kind": texts, "from_s": numbers, "to_s": numbers}),
                max_size=3,
            ),
        ),
    }
)


cells = st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=4).map(tuple)


@st.composite
def measurements(draw, variant: str, device: str) -> Measurement:
    count = st.one_of(st.none(), st.integers(-5, 2**63))
    environment = draw(st.dictionaries(st.text(max_size=8), anything, max_size=3))
    for name, values in (
        ("timeline", timelines),
        ("governor", anything),
        ("emulator", st.sampled_from([None, "", "qemu"])),
        ("energy", anything),
    ):
        if draw(st.booleans()):
            environment[name] = draw(values)
    text = draw(texts)
    return Measurement(
        variant=variant,
        device=device,
        profile=draw(texts),
        status=draw(st.sampled_from([Status.OK, Status.OK, Status.CRASHED])),
        failure=draw(st.sampled_from([None, Failure(code=text, what=text, hint=text)])),
        runtime=draw(st.sampled_from([None, RuntimeSpec(name=text, version=text)])),
        accelerator=Accelerator(
            requested=draw(st.sampled_from(["cpu", text])),
            actual=text,
            ops_total=draw(count),
            ops_delegated=draw(count),
            ops_left=(text,) * 9,
            adapter=text,
            types={text: 3},
        ),
        threads=draw(st.integers(1, 9)),
        rounds=draw(
            st.lists(
                st.lists(st.integers(-(10**6), 10**15), max_size=3).map(tuple), max_size=8
            ).map(tuple)
        ),
        load_ns=draw(count),
        first_ns=draw(count),
        peak_rss_bytes=draw(count),
        quality=draw(
            st.one_of(
                st.none(),
                st.builds(
                    Quality,
                    metric=st.one_of(texts, st.just("top1"), st.just("mae")),
                    value=st.floats(),
                    n=st.integers(-3, 10**6),
                    correct=st.one_of(st.none(), texts, st.just("ff0")),
                    confusion=st.one_of(
                        st.none(), st.builds(Confusion, classes=st.just(3), cells=cells)
                    ),
                ),
            )
        ),
        parity=draw(
            st.one_of(
                st.none(),
                st.builds(
                    Agreement,
                    samples=st.integers(0, 99),
                    top1_agreement=st.one_of(st.none(), st.floats(0, 1)),  # the host counts
                    max_abs_diff=st.floats(),
                    snr_db=st.one_of(st.none(), st.floats()),
                ),
            )
        ),
        ops=(
            OpTime(
                name=text, index=0, partition=draw(count), ns=5, share=draw(st.floats()), type=text
            ),
        ),
        divergence=Divergence(
            op=0, kind=text, tensor=text, max_abs_diff=1.0, max_steps=None, beyond_rounding=True
        ),
        environment=environment,
        flags=tuple(draw(st.lists(texts, max_size=3))),
    )


@st.composite
def runs(draw, run_id: str = "20261122T150405-ab12cd") -> Run:
    names = draw(st.lists(texts, min_size=2, max_size=3))
    variants = ["float", *dict.fromkeys(names)][:3]
    devices = [draw(texts), "pi4"]
    made = [
        draw(measurements(variant, device))
        for device in devices  # the same name twice, at times: a faulty agent
        for variant in [*variants, variants[-1]]
    ]
    text = draw(texts)
    package = builders.package(
        [
            dataclasses.replace(builders.variant(name or "x", passes=[text, "b"]), warnings=(text,))
            for name in variants
        ]
    )
    assert package.data is not None
    data = dataclasses.replace(package.data, classes=(text, draw(texts)))
    return builders.run(
        measurements=tuple(made),
        package=dataclasses.replace(package, source_name=text, tools={text: text}, data=data),
        run_id=run_id,
        note=text,
        tags=(text,),
        git_commit=text,
        transfers=(Transfer(device=text, sent_bytes=-1, seconds=draw(st.floats()), cipher=text),),
    )


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}


def clean(text: str) -> None:
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in (
            "Cc", "Cf", "Cs", "Co", "Zl", "Zp",
        ), repr(character)  # fmt: skip
    for line in text.splitlines():
        assert not re.match(r"\s*::.*::", line), line
        assert "##[" not in line and "##vso[" not in line


RULES = ["latency_p90>5%", "quality>1%", "memory>5%", "energy>1mJ", "latency_p99>5ms"]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@given(run=runs(), base=runs("20261121T000000-base00"))
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),  # an example takes long: a failure is shown as it was found
    suppress_health_check=SLOW,
)
def test_nothing_gets_out_of_any_rendering(run: Run, base: Run) -> None:
    comparison = compare(run)
    verdict = gate.judge(run, comparison, limits.fail_on(RULES), {}, base)
    made = pairs.run_against(run, comparison, verdict, base)
    json.dumps(made, allow_nan=False)

    out = io.StringIO()
    console = Console(file=out, width=80)
    terminal.render(run, comparison, verdict, console)
    other = run.package.variants[-1].name
    terminal.render(run, compare(run, other), verdict, Console(file=out, width=160))
    terminal.render_package(run.package, console)
    terminal.render_provenance(run.package, console)
    rows = paired([run, base], Baseline(variant="float"))
    terminal_runs.render([run, base], Baseline(run=base), pairs.groups(rows), console)
    terminal_runs.render_gains(other, by_profile([run, base], other), console)
    clean(out.getvalue())

    clean(markdown.render(run, comparison, verdict, base))
    ET.fromstring(junit.render(run, verdict))
    for line in github.commands(run, verdict):
        assert "\n" not in line and "\r" not in line
        assert line.startswith(("::error title=edgepack", "::notice title=edgepack"))
        clean(line.partition("::")[2].partition("::")[2])

    page = Page(html.render(run, comparison, verdict, base))
    assert page.tags.count("script") == 1 and not {"img", "iframe", "b"} & set(page.tags)
    assert not [name for name in page.names if name.startswith("on") or name == "style"]
    cell = Page(notebook.package(run.package) + notebook.run(run, comparison, verdict))
    assert set(cell.tags) <= {"p", "b", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert not cell.names


events = st.builds(
    Event,
    kind=texts | st.sampled_from(["stage", "progress", "samples", "measured", "failed", "warning"]),
    stage=texts,
    message=texts,
    device=texts,
    variant=texts,
    done=st.floats(),
    total=st.floats(),
    value=st.floats(),
)


@given(st.lists(events, max_size=8))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_live_state_is_json_of_clean_lines(told_events: list[Event]) -> None:
    board = Board("run")
    for event in told_events:
        board.tell(event)
    board.end("over")
    (told,) = board.changes(1.0)
    assert told is not None and "\n" not in told
    for device in json.loads(told)["devices"]:
        clean("\n".join([device["name"], device["message"], device["failed"], *device["samples"]]))


def test_ten_megabytes_of_anything_stay_small() -> None:
    huge = "<b>\x1b" + "x" * 10_000_000
    one = builders.measurement(
        "int8",
        flags=(huge,),
        runtime=RuntimeSpec(name=huge, version=huge),
        environment={"a": huge, "governor": huge, "b": [huge]},
        accelerator=Accelerator(actual=huge, ops_total=3, ops_delegated=1, ops_left=(huge,)),
    )
    lost = builders.measurement(
        "float", status=Status.CRASHED, failure=Failure(code="EP503", what=huge, hint=huge)
    )
    run = builders.run(["float", "int8"], ["local"], replace={
        ("local", "int8"): one, ("local", "float"): lost,
    })  # fmt: skip
    comparison = compare(run)
    verdict = gate.judge(run, comparison, limits.fail_on(["bytes>1B"]), {})
    out = io.StringIO()
    terminal.render(run, comparison, verdict, Console(file=out, width=80))
    clean(out.getvalue())
    for text in (
        out.getvalue(),
        markdown.render(run, comparison, verdict),
        junit.render(run, verdict),
    ):
        assert len(text) < 20_000
    board = Board(huge)
    for _ in range(300):
        board.tell(Event(kind="warning", stage=huge, message=huge, device=huge, variant=huge))
    assert len(json.dumps(board.state())) < 300_000


def test_errors_reach_the_terminal_clean(capsys) -> None:
    for text in NASTY:
        error = EdgepackError("EP502", f"said: {text}\nline two", where=text, hint=text or "x")
        say_error(error)
        said = capsys.readouterr().err
        clean(said)
        assert "line two" in said
    say_error(EdgepackError("EP502", "x" * 10_000_000, hint="y\n" * 10_000))
    assert len(capsys.readouterr().err) < 20_000


def test_a_bug_that_quotes_a_device_reaches_the_terminal_clean(monkeypatch, capsys) -> None:
    def fail(*_words: object, **_more: object) -> None:
        raise RuntimeError("\n".join(NASTY).replace("\ud800\udfff", ""))

    monkeypatch.setattr(entry.cli, "main", fail)
    assert entry._run([]) == 70
    said = capsys.readouterr().err
    clean(said)
    assert "Traceback" in said and "in fail" in said and "met a bug of its own" in said


def test_a_search_shows_what_a_device_said_clean(capsys) -> None:
    for text in NASTY:
        answer = Answer(device="pi4", best=None, front=(), finals=(), binding=())
        conclusion = Conclusion(answers=(answer,), lost={"pi5": text}, runs=())
        searching.show(Found(name="s1", tried=[], conclusion=conclusion, written={}))
        said = capsys.readouterr().out
        clean(said)
        assert "pi5 could not be measured" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_document_of_odd_numbers_obeys_its_schema(value: float) -> None:
    one = builders.measurement(
        "int8", quality=Quality(metric="mae", value=value, n=3), environment={"x": value}
    )
    run = builders.run(["int8"], ["local"], replace={("local", "int8"): one})
    comparison = compare(run)
    made = document.run_document(run, comparison, gate.judge(run, comparison, (), {}))
    jsonschema.Draft202012Validator(document.schema()).validate(made)
    json.dumps(made, allow_nan=False)
