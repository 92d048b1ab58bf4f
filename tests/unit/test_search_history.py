"""A search's history: what the page, the notebook and `edgepack report` say of its trials."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from edgepack import resources
from edgepack.errors import EdgepackError
from edgepack.report import notebook
from edgepack.report.searched import best_so_far
from edgepack.searching import history
from edgepack.searching.asking import new_name
from edgepack.searching.document import schema
from edgepack.searching.study import Study
from edgepack.searching.values import Judge
from tests import builders_search
from tests.unit.test_search_study import request

MET = {"quality_drop": 0.02, "latency_p50_ms": 2.0}
NEVER = {"quality_drop": 0.02, "bytes": 100.0}


def test_every_trial_is_told_with_what_the_budget_says_of_it() -> None:
    found = history.of(builders_search.study(MET))
    device = found.devices[0]
    assert [one.number for one in device.points] == list(range(found.trials - 1))
    assert [name for name, _, _ in found.failed] == [f"t{found.trials - 1:03d}"]
    for one in device.points:
        assert one.fits == (one.judged and not one.missed)
        if one.stage == "shot":
            assert not one.judged and "not trained" in one.standing
    assert {one.on_front for one in device.points} == {True, False}
    assert (found.change(-0.0), found.change(-0.0125)) == ("+0.00", "−1.25")
    assert not [one for one in device.points if one.on_front and not one.judged]
    assert device.best is not None and device.best.fits and device.found
    assert f"Ship {device.best.variant} on pi4 (2 threads)" in found.headline
    assert f'<div class="pick">{device.best.variant}, 2 threads</div>' in history.page(
        builders_search.study(MET)
    )


def test_the_best_so_far_only_gets_better_and_ends_with_the_fastest_that_fits() -> None:
    points = history.of(builders_search.study(MET)).devices[0].points
    best = best_so_far(points, by_speed=True)
    values = [value for _, value in best]
    assert len(best) > 2 and values == sorted(values, reverse=True)
    assert values[-1] == min(one.us for one in points if one.fits)
    assert [one.at_s for one, _ in best] == sorted(one.at_s for one, _ in best)


def test_where_nothing_fits_the_limit_that_binds_is_named_and_progress_is_nearness() -> None:
    found = history.of(builders_search.study(NEVER))
    device = found.devices[0]
    assert device.found is False and "Nothing meets the budget on pi4, local" in found.headline
    [binding] = device.binding
    assert binding.startswith("bytes: ") and "beyond it" in binding
    limit = next(one for one in device.limits if one.name == "bytes")
    assert limit.shown == "100 bytes" and re.fullmatch(r"[\d,]+% beyond it", limit.said)
    assert limit.missed == limit.judged > 0 and limit.nearest is not None and limit.nearest > 1
    assert best_so_far(device.points, by_speed=True)[-1][1] == min(
        one.excess for one in device.points if one.judged
    )


def test_limits_on_the_page_have_units_and_quality_is_missed_by_points() -> None:
    study = builders_search.study({"quality_drop": 0.0001, "bytes": 100_000.0})
    found = history.of(study)
    drop, size = found.devices[0].limits
    assert (drop.shown, size.shown) == ("0.01 points", "100,000 bytes")
    assert ("budget *", "quality_drop 0.01 points, bytes 100,000 bytes") in found.asked
    missed = [each for one in found.devices[0].points for each in one.missed]
    points = [each for each in missed if each.startswith("quality_drop")]
    assert points and all(re.fullmatch(r"quality_drop by [\d.]+ points", one) for one in points)
    assert "<td>100,000 bytes</td>" in history.page(study)


def test_what_was_judged_on_fewer_samples_says_so() -> None:
    points = history.of(builders_search.study(MET)).devices[0].points
    marked = {one.choice for one in points if "judged on" in one.choice}
    assert marked == {"int16x8, judged on 125 samples"}


def test_finalists_have_an_interval_and_their_setting() -> None:
    study = builders_search.study(MET)
    document = history.document(study)
    jsonschema.validate(json.loads(json.dumps(document)), schema())
    low, high = document["devices"]["pi4"]["best"]["latency_ci95_us"]
    assert low < document["devices"]["pi4"]["best"]["latency_us"] < high
    page, shown = history.page(study), notebook.search(history.of(study))
    assert "p50 ±95% CI" in page and "p50 ±95% CI" in shown
    best = history.of(study).devices[0].best
    assert best is not None and best.p50.endswith(" ±1.0%") and best.name.endswith(", 2 threads")
    for text in (page, shown):
        assert best.p50 in text and best.name in text
    # A search that was concluded before intervals were kept.
    for each in document["devices"].values():
        for one in (each["best"], *each["pareto"], *each["finalists"]):
            one.pop("latency_ci95_us", None)
    study.conclude(document)
    jsonschema.validate(json.loads(json.dumps(history.document(study))), schema())
    best = history.of(study).devices[0].best
    assert best is not None and "±" not in best.p50


def test_an_unfinished_search_is_shown_as_far_as_it_came() -> None:
    study = builders_search.study(MET, concluded=False)
    found = history.of(study)
    assert found.status == "unfinished" and "--resume" in found.headline
    assert found.devices[0].found is None and found.devices[0].points
    jsonschema.validate(json.loads(json.dumps(history.document(study))), schema())
    assert "Not finished yet" in history.page(study)


def test_the_raw_data_of_the_page_are_the_search() -> None:
    import base64

    study = builders_search.study(MET)
    [link] = re.findall(r'href="data:application/json;base64,([^"]+)"', history.page(study))
    document = json.loads(base64.b64decode(link))
    jsonschema.validate(document, schema())
    assert len(document["trials"]) == len(study.tried())
    assert document["devices"]["pi4"]["best"]["variant"] in history.page(study)


def test_a_notebook_shows_the_answer_and_runs_nothing() -> None:
    study = builders_search.study(MET, lost={"<script>x": "<script>alert(1)</script>"})
    shown = notebook.search(history.of(study))
    assert "Ship t" in shown and "<table>" in shown
    assert "<script" not in shown


def test_the_report_command_takes_searches(tmp_path, monkeypatch) -> None:
    from click.testing import CliRunner

    from edgepack.cli.main import cli

    monkeypatch.setenv("EDGEPACK_SEARCHES", f"sqlite:///{tmp_path}/searches.db")
    name = new_name()
    Study.create(name, request())
    for ref, file in ((name, "s.html"), ("search:latest", "s.json")):
        done = CliRunner().invoke(cli, ["report", ref, "-o", str(tmp_path / file)])
        assert done.exit_code == 0, done.output
    assert name in (tmp_path / "s.html").read_text()
    assert json.loads((tmp_path / "s.json").read_text())["status"] == "unfinished"
    for more in (["--budget", "b.toml"], ["-o", "s.xml"]):
        done = CliRunner().invoke(cli, ["report", name, "-o", "s.html", *more])
        assert isinstance(done.exception, EdgepackError) or done.exit_code == 2


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"trials": 0}, "trials"),
        ({"seconds": 0.0}, "seconds"),
        ({"epochs": (0, 5)}, "epochs"),
        ({"threads": (-1,)}, "threads"),
        ({"max_seconds": float("nan")}, "max_seconds"),
    ],
)
def test_senseless_numbers_are_refused(change, where) -> None:
    from dataclasses import replace

    from edgepack.searching import asking

    with pytest.raises(EdgepackError) as caught:
        asking.checked(replace(request(), **change))
    assert (caught.value.code, caught.value.where) == ("EP105", where)


@pytest.mark.parametrize(
    ("limits", "lost", "code"), [(MET, {}, 0), (NEVER, {}, 1), (MET, {"pi5": "no answer"}, 4)]
)
def test_the_exit_code_says_what_was_found(limits, lost, code, tmp_path, monkeypatch) -> None:
    from click.testing import CliRunner

    from edgepack.cli.main import cli
    from edgepack.searching import asking

    def perform(study: Study, folder: object, **_: object) -> asking.Found:
        study.judged_by(Judge(metric="accuracy", source=0.9, samples=100))
        conclusion = builders_search.conclusion(limits, lost)
        return asking.Found(name=study.name, tried=(), conclusion=conclusion, written={})

    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    monkeypatch.setattr(asking, "perform", perform)
    report = tmp_path / "s.html"
    model = resources.demo_dir() / "fashion_mnist_resnet.keras"
    words = ["search", str(model), "-q", "--json", "--report", str(report)]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == code, done.output
    assert "edgepack search" in report.read_text()


def test_events_end_with_the_verdict(tmp_path, monkeypatch) -> None:
    from click.testing import CliRunner

    from edgepack.cli.main import cli
    from edgepack.searching import asking

    def perform(study: Study, folder: object, **_: object) -> asking.Found:
        conclusion = builders_search.conclusion(NEVER, {})
        return asking.Found(name=study.name, tried=(), conclusion=conclusion, written={})

    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path))
    monkeypatch.setattr(asking, "perform", perform)
    model = resources.demo_dir() / "fashion_mnist_resnet.keras"
    for options, count in ((["--events"], 4), (["-q"], 0)):
        done = CliRunner().invoke(cli, ["search", str(model), *options], standalone_mode=False)
        verdicts = [line for line in done.stdout.splitlines() if '"kind": "verdict"' in line]
        assert len(verdicts) == count, done.output
        assert not count or "nothing meets the budget" in verdicts[0]
