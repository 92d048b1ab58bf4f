"""Regressions: significant and above the margin, or no failure; unmeasured is no pass."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest

from edgepack.analysis import gate, limits
from edgepack.analysis.compare import compare
from edgepack.errors import EdgepackError
from edgepack.model import Accelerator, Budget, Run, Verdict
from edgepack.report import github, junit, markdown, view
from tests import builders
from tests.unit.test_across import slowed


def judged(run: Run, rules: list[str], base: Run | None) -> Verdict:
    return gate.judge(run, compare(run), limits.fail_on(rules), {}, base)


@pytest.mark.parametrize(
    ("factor", "rule", "status"),
    [
        (1.2, "latency_p90>5%", "fail"),
        (1.2, "latency_p50>5%", "fail"),
        (1.2, "latency_p99 > 5%", "fail"),
        (1.2, "latency_p90>30%", "pass"),  # certain, but within the margin
        (1.0, "latency_p50>0%", "pass"),  # beyond the margin, but chance
        (0.8, "latency_p90>5%", "pass"),
    ],
)
def test_a_latency_fails_when_it_is_both(factor: float, rule: str, status: str) -> None:
    base = builders.run(["float", "int8"], ["local"])
    assert judged(slowed(base, factor), [rule], base).status == status


def test_without_a_baseline_run_the_baseline_variant_is_it() -> None:
    run = builders.run(["float", "int8"], ["local"])
    assert judged(run, ["latency_p90>5%"], None).status == "pass"
    found = gate.judge(
        run,
        compare(run),
        (Budget(selector="*", limits={"latency_p50_regression": 0.05}, variant="float"),),
        {},
        slowed(run, 0.5),
    )
    assert found.status == "fail"
    (check,) = [each for each in found.checks if each.decides]
    assert check.value == pytest.approx(1.0, abs=0.05)
    assert "latency_p50_regression +" in view.check(check) and "95% CI" in view.check(check)


def test_a_quality_fails_by_the_paired_test() -> None:
    base = builders.run(["int8"], ["local"])

    def with_quality(accuracy: float, n: int = 2000) -> Run:
        worse = builders.measurement("int8", quality=builders.top1(accuracy, n))
        return builders.run(["int8"], ["local"], replace={("local", "int8"): worse}, run_id="x")

    assert judged(with_quality(0.85), ["quality>1%"], base).status == "fail"
    assert judged(with_quality(0.909), ["quality>1%"], base).status == "pass"
    forty = judged(with_quality(0.87, 40), ["quality>1%"], with_quality(0.91, 40))
    assert forty.status == "pass", "of forty samples it may be chance"


def test_values_that_come_once_are_held_against_the_margin() -> None:
    base = builders.run(["int8"], ["local"])
    more = builders.measurement("int8", peak_rss_bytes=60_000_000, quality=builders.top1(0.911))
    run = builders.run(["int8"], ["local"], replace={("local", "int8"): more}, run_id="x")
    found = judged(run, ["memory>10%", "bytes>0%"], base)
    assert [check.status for check in found.checks] == ["fail", "pass"]
    assert "margin alone" in found.checks[0].note
    assert judged(run, ["energy>5%"], base).status == "unmeasured"


def test_energy_where_the_board_told_it() -> None:
    def using(mj: float) -> Run:
        told = builders.measurement("int8", environment={"energy": {"mj_per_inference": mj}})
        return builders.run(["int8"], ["local"], replace={("local", "int8"): told}, run_id=f"r{mj}")

    assert judged(using(6.0), ["energy>5%"], using(5.0)).status == "fail"
    assert judged(using(6.0), ["energy>8mJ"], None).status == "pass"


def test_what_cannot_be_compared_is_unmeasured_and_says_why() -> None:
    base = builders.run(["int8"], ["local"])
    cases = {
        "governor powersave": slowed(base, 1.0, environment={"governor": "powersave"}),
        f"run {base.run_id} has no float": builders.run(["float"], ["local"], run_id="x"),
        "too few samples": slowed(base, 1.0, rounds=((900, 901),)),
    }
    for said, run in cases.items():
        found = judged(run, ["latency_p50>5%"], base)
        assert found.status == "unmeasured", said
        assert said in view.check(found.checks[0])


def test_an_accelerator_that_was_asked_for_must_have_run() -> None:
    budget = (Budget(selector="*", limits={}, accelerator="gpu"),)
    for ran, status in (
        (Accelerator(requested="gpu", actual="gpu", ops_total=9, ops_delegated=9), "pass"),
        (Accelerator(requested="gpu", actual="cpu"), "fail"),
        (Accelerator(requested="gpu", actual="gpu", ops_total=9, ops_delegated=0), "fail"),
    ):
        one = builders.measurement("int8", accelerator=ran)
        run = builders.run(["int8"], ["local"], replace={("local", "int8"): one})
        found = gate.judge(run, compare(run), budget, {})
        assert found.status == status
        assert f"asked for gpu, ran on {ran.actual}" in view.check(found.checks[0])


@pytest.mark.parametrize(
    ("rule", "limit", "value"),
    [
        ("latency_p90>5%", "latency_p90_regression", 0.05),
        ("latency_p90>4ms", "latency_p90_ms", 4.0),
        ("latency_p50 > 800us", "latency_p50_ms", 0.8),
        ("bytes>400kB", "bytes", 400e3),
        ("memory>64MiB", "memory_bytes", 64 * 2**20),
        ("quality<0.9", "quality", 0.9),
        ("quality<90%", "quality", 0.9),
        ("quality>1%", "quality_regression", 0.01),
        ("quality_drop>1%", "quality_drop", 0.01),
        ("first_inference>20%", "first_inference_regression", 0.2),
    ],
)
def test_rules(rule: str, limit: str, value: float) -> None:
    (budget,) = limits.fail_on([rule])
    assert budget.limits == {limit: pytest.approx(value)} and budget.selector == "*"


@pytest.mark.parametrize(
    "rule", ["", "latency", "latency_p9>5%", "latency_p90<5%", "bytes>4ms", "quality>0.9", "a>b>c"]
)
def test_what_is_not_a_rule_is_refused(rule: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        limits.fail_on([rule])
    assert caught.value.code == "EP105" and caught.value.where == "--fail-on"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("latency_p90>5", ("latency_p90>5ms", "latency_p90>5%")),
        ("latency_p90_ms>5%", ("Did you mean 'latency_p90'?", "Known: latency_p50,")),
        ("latency_p90_regression>0.05", ("Did you mean 'latency_p90'?", "Known: latency_p50,")),
        ("quality_regression>1%", ("which --fail-on calls 'quality'", "Did you mean 'quality'?")),
        ("memory_bytes>5%", ("Did you mean 'memory'?",)),
        ("quality>0.9", ("quality<0.9", "quality>1%")),
        ("bytes>4ms", ("bytes>4 (or B, kB",)),
    ],
)
def test_a_refused_rule_says_what_is_taken(rule: str, told: tuple[str, ...]) -> None:
    with pytest.raises(EdgepackError) as caught:
        limits.fail_on([rule])
    assert [each for each in told if each not in str(caught.value)] == []


def test_a_budget_file_may_hold_regressions_and_an_accelerator(tmp_path) -> None:
    file = tmp_path / "budget.toml"
    file.write_text('[budget.pi4]\nlatency_p90_regression = 0.05\naccelerator = "gpu"\n')
    (budget,) = gate.load(file)
    assert budget.accelerator == "gpu" and budget.limits == {"latency_p90_regression": 0.05}
    file.write_text("[budget.pi4]\naccelerator = true\n")
    with pytest.raises(EdgepackError, match="name in quotes"):
        gate.load(file)


def hostile(name: str) -> tuple[Run, Verdict]:
    base = builders.run(["int8"], ["local"])
    found = [dataclasses.replace(m, device=name, variant="int8") for m in base.measurements]
    run = slowed(dataclasses.replace(base, measurements=tuple(found)), 1.0)
    return run, judged(run, ["bytes>1"], None)


@pytest.mark.parametrize(
    "name",
    [
        "pi\n::error::owned",
        "::set-env name=PATH::x",
        "a%0A::stop-commands::x",
        "##[error]b",
        "a,b:c",
    ],
)
def test_a_device_cannot_give_github_commands(name: str) -> None:
    run, verdict = hostile(name)
    lines = list(github.commands(run, verdict))
    assert len(lines) == 1 and "\n" not in lines[0]
    head, _, message = lines[0].removeprefix("::error title=").partition("::")
    assert ":" not in head and "," not in head
    assert "%0A" not in message or "%250A" in message
    assert "##[" not in lines[0]
    for text in (markdown.render(run, compare(run), verdict), view.check(verdict.checks[0])):
        assert not any(line.lstrip().startswith(("::", "##[")) for line in text.splitlines())
    ET.fromstring(junit.render(run, verdict))


def test_annotations_name_what_failed_and_a_pass_is_one_notice() -> None:
    run = builders.run(["float", "int8"], ["local", "pi4"])
    lines = list(github.commands(run, judged(run, ["latency_p50>0.5ms"], None)))
    assert len(lines) == 1 and lines[0].startswith(
        "::error title=edgepack%3A limit exceeded on pi4"
    )
    (only,) = github.commands(run, judged(run, ["bytes>1MB"], None))
    assert only.startswith("::notice title=edgepack gate::fashion.keras: Gate passed: 2 of 2")
