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
