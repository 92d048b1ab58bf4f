"""compare, gate and report on stored runs: names of baselines, exit codes, files, GitHub."""

from __future__ import annotations

import json

import jsonschema
import pytest

from edgepack.cli.main import _run
from edgepack.report import pairs
from edgepack.report.document import schema
from edgepack.store import open_store
from tests import builders
from tests.unit.test_across import slowed

BASE = "20261121T000000-base00"
SLOW = "20261122T000000-slow00"
SAME = "20261123T000000-same00"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three runs of two variants on two devices; the middle one is 20% slower."""
    folder = tmp_path_factory.mktemp("home")
    base = builders.run(["float", "int8"], run_id=BASE, tags=("v1.2",), git_branch="main")
    with open_store(f"sqlite:///{folder / 'data' / 'runs.db'}") as store:
        store.save(base)
        store.save(slowed(base, 1.2, SLOW))
        store.save(slowed(base, 1.0, SAME))
    return folder


@pytest.fixture(autouse=True)
def stored(home, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_HOME", str(home))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edgepack(capsys, *args: str) -> tuple[int, str, str]:
    code = _run(list(args))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_tag_an_id_and_latest_name_a_baseline(capsys) -> None:
    for name in ("v1.2", BASE, "latest~2", "run:v1.2", BASE[:12]):
        code, out, _ = edgepack(capsys, "compare", SLOW, "--baseline", name, "--json")
        found = json.loads(out)
        jsonschema.Draft202012Validator(pairs.schema("comparison")).validate(found)
        assert code == 0 and found["baseline"] == {"variant": None, "run_id": BASE}
        assert {row["significant"] for row in found["rows"]} == {True}
        assert [round(row["speedup"], 1) for row in found["rows"]] == [0.8] * 4


def test_a_branch_names_a_baseline_and_never_the_run_itself(capsys) -> None:
    code, out, _ = edgepack(capsys, "compare", SAME, "--baseline", "branch:main~1", "--json")
    assert code == 0 and json.loads(out)["baseline"]["run_id"] == SLOW
    code, out, _ = edgepack(capsys, "compare", SLOW, "--baseline", "branch:main", "--json")
    assert code == 0 and json.loads(out)["baseline"]["run_id"] == SAME
    rule = ("--fail-on", "load>5%")
    code, _, err = edgepack(capsys, "gate", SAME, "--baseline", "branch:main", *rule)
    assert code == 2 and "is the run itself" in err


def test_several_runs_stand_side_by_side(capsys) -> None:
    code, out, _ = edgepack(capsys, "compare", SLOW, SAME, "--baseline", "v1.2")
    assert code == 0 and f"#1 {SLOW}" in out and f"#2 {SAME}" in out
    assert "not significant" in out and "0.83×" in out
    code, out, _ = edgepack(capsys, "compare", SLOW, SAME, "--json")
    assert json.loads(out)["baseline"] == {"variant": "float", "run_id": None}


def test_fail_on_decides_the_exit_code(capsys) -> None:
    rule = ("--fail-on", "latency_p90>5%")
    assert edgepack(capsys, "compare", SLOW, "--baseline", "v1.2", *rule)[0] == 1
    assert edgepack(capsys, "compare", SAME, "--baseline", "v1.2", *rule)[0] == 0
    assert edgepack(capsys, "compare", SLOW, SAME, "--baseline", "v1.2", *rule)[0] == 1
    assert edgepack(capsys, "gate", SLOW, "--baseline", "v1.2", *rule)[0] == 1
    code, out, _ = edgepack(capsys, "gate", SAME, "--baseline", "v1.2", *rule)
    assert code == 0 and f"against run {BASE}" in out
    assert edgepack(capsys, "gate", SAME, "--fail-on", "energy>5%")[0] == 4


def test_by_profile(capsys) -> None:
    code, out, _ = edgepack(capsys, "compare", BASE, SAME, "--by", "profile")
    assert code == 0 and "raspberry-pi-4" in out and "desktop" in out and "2.7" in out
    _, out, _ = edgepack(capsys, "compare", "--by", "profile", "--json")
    found = json.loads(out)
    jsonschema.Draft202012Validator(pairs.schema("gains")).validate(found)
    assert {row["profile"] for row in found["rows"]} == {"desktop", "raspberry-pi-4"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["compare", "--baseline", "nope"], "EP105"),
        (["compare", "nope"], "EP601"),
        (["gate", SAME, "--baseline", "latest", "--fail-on", "bytes>1%"], "the run itself"),
        (["gate"], "--fail-on"),
        (["gate", "--fail-on", "speed>5%"], "EP105"),
        (["compare", "--by", "profile", "--baseline", "v1.2"], "--baseline"),
        (["compare", "--by", "profile", "--across", "threads"], "--across"),
        (["report", "-o", "x.pdf"], "EP105"),
    ],
)
def test_what_cannot_be_asked_is_refused(capsys, args, said) -> None:
    code, out, err = edgepack(capsys, *args)
    assert code == 2 and said in err and not out


def test_the_gates_files(capsys, stored, monkeypatch) -> None:
    summary = stored / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    args = ("--baseline", "v1.2", "--fail-on", "latency_p90>5%", "--junit", "g.xml")
    code, out, _ = edgepack(capsys, "gate", SLOW, *args, "--markdown", "g.md", "--github")
    assert code == 1
    assert sum(line.startswith("::error title=edgepack%3A") for line in out.splitlines()) == 2
    page = (stored / "g.md").read_text()
    assert summary.read_text() == "before\n" + page
    assert "Not ready to ship" in page and "**Against run" in page
    assert (stored / "g.xml").read_text().count("<failure") == 2
    code, out, err = edgepack(capsys, "gate", SLOW, *args, "--github", "--json")
    found = json.loads(out)
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert found["against"]["run_id"] == BASE and "95% CI" in found["verdict"]["checks"][0]["note"]
    assert "::error" in err


def test_the_report_shows_the_baseline_run(capsys, stored) -> None:
    assert edgepack(capsys, "report", SLOW, "-o", "r.html", "--baseline", "v1.2")[0] == 0
    assert f"Against run {BASE}" in (stored / "r.html").read_text()


@pytest.fixture
def unnamed(stored, monkeypatch):
    """Two runs of a .tflite taken as it is, so without a float variant; the second is slower."""
    monkeypatch.setenv("EDGEPACK_HOME", str(stored))
    variant = builders.variant("as-is")
    first = builders.run(
        variants=(),
        run_id=BASE,
        package=builders.package([variant]),
        measurements=(builders.measurement("as-is", "local"),),
    )
    other = builders.run(["float"], ["pi4"], run_id=SAME)
    with open_store(f"sqlite:///{stored / 'data' / 'runs.db'}") as store:
        for each in (first, slowed(first, 1.2, SLOW), other):
            store.save(each)
    return stored


def test_runs_without_a_float_variant_are_compared_with_each_other(capsys, unnamed) -> None:
    code, out, _ = edgepack(capsys, "compare", BASE, SLOW)
    assert code == 0 and f"baseline: run {BASE}" in out and "0.83×" in out
    assert "not compared" not in out
    code, out, _ = edgepack(capsys, "compare", BASE, SLOW, "--json")
    found = json.loads(out)
    jsonschema.Draft202012Validator(pairs.schema("comparison")).validate(found)
    assert found["baseline"] == {"variant": None, "run_id": BASE}
    assert [row["is_baseline"] for row in found["rows"]] == [True, False]
    assert edgepack(capsys, "compare", BASE, SLOW, "--fail-on", "latency_p50>5%")[0] == 1


def test_runs_of_nothing_but_float_are_compared_with_each_other(capsys, stored, monkeypatch):
    monkeypatch.setenv("EDGEPACK_HOME", str(stored))
    alone = builders.run(["float"], ["local"], run_id=BASE)
    with open_store(f"sqlite:///{stored / 'data' / 'runs.db'}") as store:
        store.save(alone)
        store.save(slowed(alone, 1.2, SLOW))
    code, out, _ = edgepack(capsys, "compare", BASE, SLOW)
    assert code == 0 and "0.83×" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((BASE, SLOW, "--by", "profile"), "leave out --by"),
        ((BASE, SLOW, "--baseline", "as-is"), "Give another run"),
        ((BASE, SAME), "share a variant's"),
        ((BASE, "--baseline", SAME), "runs show RUN"),
        ((BASE, "--baseline", BASE), "the run itself"),
        ((BASE, "--across", "threads"), "no run has a variant to compare with its 'as-is'"),
    ],
)
def test_nothing_to_compare_is_an_error_with_a_next_step(capsys, unnamed, args, said) -> None:
    for more in ((), ("--json",)):
        code, out, err = edgepack(capsys, "compare", *args, *more)
        assert code == 2 and "EP105" in err and said in " ".join(err.split()) and not out


def test_with_rules_nothing_to_compare_is_undecided(capsys, unnamed) -> None:
    rule = ("--fail-on", "latency_p50>5%")
    assert edgepack(capsys, "compare", BASE, "--baseline", SAME, *rule)[0] == 4


def test_recipes_are_held_against_the_first_variant_where_none_is_float(capsys, unnamed) -> None:
    both = builders.package([builders.variant("as-is"), builders.variant("int8")])
    measured = [builders.measurement("as-is", p50_us=100), builders.measurement("int8", p50_us=50)]
    with open_store(f"sqlite:///{unnamed / 'data' / 'runs.db'}") as store:
        store.save(
            builders.run((), run_id="20261124T000000-both00", package=both, measurements=measured)
        )
    code, out, _ = edgepack(capsys, "compare", "latest", "--by", "profile")
    assert code == 0 and "faster than as-is" in out and "1.99×" in out
