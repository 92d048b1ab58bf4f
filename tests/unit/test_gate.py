"""The gate: which limits are held against what, and files that are not budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepack.analysis import gate
from edgepack.analysis.compare import compare
from edgepack.errors import EdgepackError
from edgepack.model import Accelerator, Budget, Device, Quality, Verdict, VerdictStatus
from tests import builders

DEVICES = {
    "local": Device(name="local", profile="desktop", transport="local"),
    "pi4": Device(name="pi4", profile="raspberry-pi-4", tags=("lab", "arm")),
}


def judged(limits: dict[str, float], selector: str = "*", run=None, variant=None) -> Verdict:
    run = run or builders.run()
    budget = Budget(selector=selector, limits=limits, variant=variant)
    return gate.judge(run, compare(run), (budget,), DEVICES)


def deciding(verdict: Verdict):
    return [check for check in verdict.checks if check.decides]


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"latency_p50_ms": 1.0}, "pass"),
        ({"latency_p50_ms": 0.5}, "fail"),  # pi4 needs 0.87 ms
        ({"latency_p90_ms": 0.95, "latency_p99_ms": 1.1}, "pass"),
        ({"latency_p90_ms": 0.87}, "fail"),
        ({"quality": 0.90}, "pass"),
        ({"quality": 0.95}, "fail"),
        ({"quality_drop": 0.01}, "pass"),
        ({"quality_drop": 0.001}, "fail"),
        ({"bytes": 104_352}, "pass"),
        ({"bytes": 104_351}, "fail"),
        ({"memory_bytes": 48_000_000}, "pass"),
        ({"memory_bytes": 47_999_999}, "fail"),
        ({"load_ms": 2.1}, "pass"),
        ({"load_ms": 2.0}, "fail"),
        ({"first_inference_ms": 0.4}, "pass"),
        ({"first_inference_ms": 0.39}, "fail"),
    ],
)
def test_limits(limits, status) -> None:
    found = judged(limits)
    assert found.status == status
    assert {check.variant for check in deciding(found)} == {"int8"}, "the recommended one decides"


@pytest.mark.parametrize(
    ("selector", "devices"),
    [
        ("*", {"local", "pi4"}),
        ("pi4", {"pi4"}),
        ("tag:lab", {"pi4"}),
        ("profile:raspberry-pi-4", {"pi4"}),
        ("profile:desktop", {"local"}),
    ],
)
def test_selectors(selector, devices) -> None:
    found = judged({"bytes": 1e9}, selector)
    assert {check.device for check in found.checks} == devices
    assert found.checks[0].budget == f"{selector}.bytes"
    assert found.status is VerdictStatus.PASS


@pytest.mark.parametrize("selector", ["pi5", "tag:roof", "profile:jetson-nano", "tag:", "PI4"])
def test_a_budget_that_names_no_device_is_unmeasured(selector) -> None:
    found = judged({"bytes": 1e9}, selector)
    assert found.status is VerdictStatus.UNMEASURED
    assert [check.device for check in found.checks] == [""]


def test_a_named_variant_decides_instead_of_the_recommended_one() -> None:
    assert judged({"latency_p50_ms": 0.1}, "local").status is VerdictStatus.PASS
    found = judged({"latency_p50_ms": 0.1}, "local", variant="float")
    assert found.status is VerdictStatus.FAIL
    assert [check.variant for check in deciding(found)] == ["float"]
    assert {c.variant for c in found.checks} == set(builders.SHAPES), "the others are listed"
    assert judged({"bytes": 1e9}, variant="int4").status is VerdictStatus.UNMEASURED


def test_what_was_not_measured_never_passes() -> None:
    gone = {("pi4", name): builders.failed(name) for name in builders.SHAPES}
    assert judged({"bytes": 1e9}, run=builders.run(replace=gone)).status is VerdictStatus.UNMEASURED
    assert judged({"bytes": 1e9}, "local", builders.run(replace=gone)).status is VerdictStatus.PASS
    unlabelled = {
        ("local", "int8"): builders.measurement("int8", p50_us=60, quality=None, parity=None)
    }
    run = builders.run(["float", "int8"], ["local"], replace=unlabelled)
    assert judged({"quality": 0.1}, run=run).status is VerdictStatus.UNMEASURED
    assert judged({"quality_drop": 0.9}, run=run).status is VerdictStatus.UNMEASURED


def test_a_failure_outweighs_what_is_unmeasured() -> None:
    run = builders.run()
    budgets = (
        Budget(selector="pi9", limits={"bytes": 1}),
        Budget(selector="local", limits={"bytes": 1}),
    )
    assert gate.judge(run, compare(run), budgets, DEVICES).status is VerdictStatus.FAIL


def test_times_of_an_emulator_are_not_measured_but_its_quality_is() -> None:
    emulated = {("pi4", "int8"): builders.measurement("int8", "pi4", 60, flags=("emulated",))}
    run = builders.run(replace=emulated)
    slow = judged({"latency_p90_ms": 1e6}, "pi4", run, variant="int8")
    assert slow.status is VerdictStatus.UNMEASURED
    assert judged({"quality": 0.5}, "pi4", run, variant="int8").status is VerdictStatus.PASS


def test_the_quality_limit_of_an_error_is_a_ceiling() -> None:
    mae = Quality(metric="mae", value=0.4, n=100)
    run = builders.run(
        ["float"],
        ["local"],
        replace={("local", "float"): builders.measurement("float", quality=mae)},
    )
    assert judged({"quality": 0.5}, run=run).status is VerdictStatus.PASS
    assert judged({"quality": 0.3}, run=run).status is VerdictStatus.FAIL


def test_no_budget_is_no_verdict() -> None:
    run = builders.run()
    assert gate.judge(run, compare(run), (), DEVICES) == Verdict(status=VerdictStatus.NONE)


GOOD = """\
[budget.pi4]
latency_p90_ms = 5.0
quality_drop = 0.01
bytes = 100_000

[budget."tag:lab"]
variant = "int8"
load_ms = 20
"""


def test_a_budget_file(tmp_path: Path) -> None:
    file = tmp_path / "budget.toml"
    file.write_text(GOOD)
    first, second = gate.load(file)
    assert first == Budget(
        selector="pi4", limits={"latency_p90_ms": 5.0, "quality_drop": 0.01, "bytes": 100_000}
    )
    assert second == Budget(selector="tag:lab", limits={"load_ms": 20}, variant="int8")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD.replace("latency_p90_ms", "latency_p9_ms"), 2, "Did you mean 'latency_p9"),
        (
            GOOD.replace("latency_p90_ms", "latencyy"),
            2,
            "Did you mean 'latency_p50_ms', 'latency_p90_ms' or 'latency_p99_ms'?",
        ),
        (GOOD.replace("load_ms = 20", "load_ms = '20'"), 8, "not a number"),
        (GOOD.replace("load_ms = 20", "load_ms = true"), 8, "not a number"),
        (GOOD.replace("load_ms = 20", "load_ms = nan"), 8, "is nan"),
        (GOOD.replace("load_ms = 20", "load_ms = -1"), 8, "is -1"),
        (GOOD.replace('"int8"', "8"), 7, "name in quotes"),
        (GOOD.replace("bytes = 100_000", "bytes = = 1"), 4, "not valid TOML"),
        (GOOD.replace("[budget.pi4]", "[budgets.pi4]"), 1, "Did you mean 'budget'"),
        (GOOD.replace("load_ms = 20", ""), 6, "no limits"),
        (GOOD.replace("load_ms = 20", "accelerated_share = 2"), 8, "at most 1.0"),
        (GOOD.replace("load_ms = 20", 'accelerator = "tpu"'), 8, "unknown accelerator 'tpu'"),
        (GOOD.replace("load_ms = 20", 'accelerator = "delegate:"'), 8, "delegate:FILE"),
        ("", None, "no budget"),
        ("budget = 3", None, "no budget"),
        ("[budget]\npi4 = 3", 2, "not a table"),
    ],
)
def test_what_is_not_a_budget_is_ep106_with_its_line(tmp_path: Path, text, line, said) -> None:
    file = tmp_path / "budget.toml"
    file.write_text(text)
    with pytest.raises(EdgepackError) as caught:
        gate.load(file)
    assert caught.value.code == "EP106"
    assert said in str(caught.value)
    assert caught.value.where == (f"{file}:{line}" if line else str(file))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[budget.caf\xe9]\nbytes = 1")
    for name in ("none.toml", ".", "latin.toml"):
        with pytest.raises(EdgepackError) as caught:
            gate.load(tmp_path / name)
        assert caught.value.code == "EP106"


def accelerated(taken: int | None, actual: str = "gpu"):
    used = Accelerator(requested="gpu", actual=actual, ops_total=10, ops_delegated=taken)
    replace = {
        ("local", name): builders.measurement(name, accelerator=used) for name in ("float", "int8")
    }
    return builders.run(["float", "int8"], ["local"], replace=replace)


def gated(run, *budgets: Budget) -> VerdictStatus:
    return gate.judge(run, compare(run), budgets, DEVICES).status


@pytest.mark.parametrize(
    ("limits", "note"),
    [
        ({"quality": 93}, "for 93% write 0.93"),
        ({"quality_drop": 1.5}, "for 1.5% write 0.015"),
        ({"quality_drop": 1}, "for 1% write 0.01"),
        ({"quality": 1.0}, ""),
        ({"quality_drop": 0.99}, ""),
    ],
)
def test_percent_that_are_meant_as_a_share_never_pass(limits, note: str) -> None:
    checks = deciding(judged(limits))
    assert {check.note.split(": ")[-1] for check in checks} == {note}
    assert not note or {check.status for check in checks} == {VerdictStatus.FAIL}


def test_a_fallback_to_the_cpu_fails_with_and_without_a_budget() -> None:
    size = Budget(selector="*", limits={"bytes": 1e9})
    for run in (accelerated(0, "cpu"), accelerated(9)):
        assert gated(run) is VerdictStatus.FAIL
        assert gated(run, size) is VerdictStatus.FAIL
    assert gated(accelerated(10)) is VerdictStatus.NONE
    assert gated(accelerated(10), size) is VerdictStatus.PASS
    assert gated(accelerated(None), size) is VerdictStatus.UNMEASURED


def test_a_budget_may_allow_a_fallback() -> None:
    most = Budget(selector="*", limits={"accelerated_share": 0.9})
    assert gated(accelerated(9), most) is VerdictStatus.PASS
    assert gated(accelerated(8), most) is VerdictStatus.FAIL
    anything = Budget(selector="local", limits={"accelerated_share": 0.0})
    assert gated(accelerated(0, "cpu"), anything) is VerdictStatus.PASS
    assert judged({"accelerated_share": 1.0}).status is VerdictStatus.PASS, "the CPU was asked for"


@pytest.mark.parametrize("flag", ["quality-failed", "non-finite-outputs"])
def test_agreement_does_not_stand_in_for_a_quality_that_failed(flag: str) -> None:
    """Agreement with the host would be near 1 whatever the metric would have said."""
    made = [
        builders.measurement(name, "local", quality=None, flags=(flag,))
        for name in ("float", "int8")
    ]
    run = builders.run(["float", "int8"], measurements=tuple(made))
    verdict = judged({"quality": 0.9, "quality_drop": 0.01}, run=run)
    assert verdict.status is VerdictStatus.UNMEASURED
    assert {check.status for check in deciding(verdict)} == {VerdictStatus.UNMEASURED}


@pytest.mark.parametrize(
    ("limit", "samples", "status"),
    [
        ("latency_p99_ms", 99, VerdictStatus.UNMEASURED),
        ("latency_p99_ms", 100, VerdictStatus.PASS),
        ("latency_p90_ms", 9, VerdictStatus.UNMEASURED),
        ("latency_p90_ms", 10, VerdictStatus.PASS),
        ("latency_p50_ms", 2, VerdictStatus.PASS),
    ],
)
def test_a_percentile_takes_enough_inferences(
    limit: str, samples: int, status: VerdictStatus
) -> None:
    made = builders.measurement("float", "local", rounds=((1000,) * samples,))
    run = builders.run(["float"], measurements=(made,))
    verdict = judged({limit: 5.0}, run=run, variant="float")
    assert verdict.status is status
    if status is VerdictStatus.UNMEASURED:
        assert f"not {samples}" in deciding(verdict)[0].note
