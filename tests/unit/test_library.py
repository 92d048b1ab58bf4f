"""`import edgepack`: build, bench and compare for real, on a model of a few kilobytes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import edgepack
from edgepack.model import Event, JobSettings
from edgepack.report import document
from tests import builders

MODEL = Path(__file__).parents[1] / "data" / "classifier_int8.tflite"
QUICK = JobSettings(max_s=0.5, min_rounds=3, warmup_s=0.05, warmup_max_s=0.1, ci=0.5, launches=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPACK_HOME", str(folder))
        patch.delenv("EDGEPACK_STORE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def built(home: Path) -> edgepack.Built:
    rng = np.random.default_rng(3)
    arrays = {
        "x_test": rng.integers(0, 255, (24, 4, 4, 1), dtype=np.uint8),
        "y_test": rng.integers(0, 4, 24),
        "scale": 1 / 255,
        "offset": 0.0,
    }
    return edgepack.build(MODEL, data=arrays, output=home / "package")


@pytest.fixture(scope="module")
def result(built: edgepack.Built) -> edgepack.Result:
    seen: list[Event] = []
    found = edgepack.bench(built, settings=QUICK, tags=["first"], progress=seen.append)
    assert any(event.kind == "measured" for event in seen)
    return found


def test_a_package_is_built_from_arrays(built: edgepack.Built) -> None:
    (variant,) = built.package.variants
    assert built.tflite(variant.name).read_bytes() == MODEL.read_bytes()
    assert built.package.data is not None and built.package.data.samples == 24
    assert variant.name in built._repr_html_()
    with pytest.raises(KeyError):
        built.tflite("no such")


def test_a_package_is_measured_here(result: edgepack.Result) -> None:
    (measured,) = result.run.measurements
    assert measured.status.value == "ok", measured.failure
    assert measured.quality is not None and measured.quality.n == 24
    jsonschema.validate(json.loads(json.dumps(result.document())), document.schema())


def test_a_stored_run_is_compared_again(result: edgepack.Result, home: Path) -> None:
    found = edgepack.compare("first")
    assert found.run == result.run
    assert found.document() == result.document()
    budget = home / "budget.toml"
    budget.write_text("[budget.local]\nbytes = 1\n")
    assert edgepack.compare("first", budget=budget).verdict.status.value == "fail"


def test_the_report_is_written(result: edgepack.Result, home: Path) -> None:
    assert "<!doctype html>" in result.save_html(home / "r.html").read_text().lower()


def test_a_notebook_shows_the_table_and_runs_nothing_that_a_board_says() -> None:
    run = builders.run(
        replace={("pi4", "int8"): builders.failed("int8", what="<script>alert(1)</script>")}
    )
    from edgepack.analysis.compare import compare
    from edgepack.analysis.gate import judge

    comparison = compare(run, baseline="float")
    made = edgepack.Result(
        run=run, comparison=comparison, verdict=judge(run, comparison, (), {}, None)
    )
    shown = made._repr_html_()
    assert "prune50-int8" in shown and "<table>" in shown
    assert "<script" not in shown and "&lt;script" in shown
    assert set(made.recommended) <= {"local", "pi4"}


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: edgepack.build("no.keras"), "EP201"),
        (lambda: edgepack.build(object()), "EP105"),
        (lambda: edgepack.build(MODEL, recipes=["int7"]), "EP102"),
        (lambda: edgepack.bench("no-package"), "EP208"),
        (lambda: edgepack.compare("no-run"), "EP601"),
    ],
)
def test_mistakes_have_codes(home: Path, call, code: str) -> None:
    with pytest.raises(edgepack.EdgepackError) as caught:
        call()
    assert caught.value.code == code


def test_only_what_is_promised_is_there() -> None:
    assert set(edgepack.__all__) <= set(dir(edgepack))
    with pytest.raises(AttributeError):
        _ = edgepack.serach  # type: ignore[attr-defined]
