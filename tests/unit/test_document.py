"""The JSON document obeys its schema, whatever happened, and says what was measured."""

from __future__ import annotations

import dataclasses
import json

import jsonschema
import pytest

from edgepack.analysis import gate, stats
from edgepack.analysis.compare import compare
from edgepack.model import Agreement, Budget, Quality, Run, Status
from edgepack.report.document import run_document, schema
from tests import builders


def document_of(run: Run, limits: dict[str, float] | None = None) -> dict:
    comparison = compare(run)
    budgets = (Budget(selector="*", limits=limits),) if limits else ()
    found = run_document(run, comparison, gate.judge(run, comparison, budgets, {}))
    jsonschema.Draft202012Validator(schema()).validate(found)
    return json.loads(json.dumps(found, allow_nan=False))


def test_the_schema_is_one_and_refuses_additions() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    found = document_of(builders.run())
    for place in (
        found,
        found["verdict"],
        found["measurements"][0],
        found["comparison"]["rows"][0],
    ):
        place["surprise"] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema()).validate(found)
        del place["surprise"]
    del found["measurements"][0]["latency_us"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(found)


def test_the_fields_of_the_design() -> None:
    run = builders.run()
    found = document_of(run, {"latency_p90_ms": 5.0})
    assert found["schema"] == "edgepack.run/1"
    assert [variant["name"] for variant in found["variants"]] == list(builders.SHAPES)
    first = found["measurements"][0]
    expected = stats.latency(run.measurements[0])
    assert expected is not None
    assert first["latency_us"]["p50"] == expected.p50
    assert first["latency_us"]["n"] == sum(map(len, run.measurements[0].rounds))
    assert first["cold"]["load_ms"] == 2.1
    assert first["runtime"] == {"name": "ai-edge-litert", "version": "2.3.0", "api": None}
    assert found["comparison"]["recommended"] == {"local": "int8", "pi4": "int8"}
    assert found["verdict"]["status"] == "pass"
    checks = found["verdict"]["checks"]
    assert {(c["device"], c["variant"]) for c in checks} == {("local", "int8"), ("pi4", "int8")}


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_document(status: Status) -> None:
    lost = dataclasses.replace(builders.failed("int8"), status=status)
    found = document_of(builders.run(replace={("pi4", "int8"): lost}), {"latency_p50_ms": 1})
    row = next(m for m in found["measurements"] if (m["device"], m["variant"]) == ("pi4", "int8"))
    assert row["status"] == str(status) and row["latency_us"] is None
    assert row["error"]["code"] == "EP401"


def test_samples_of_a_variant_that_crashed_are_not_its_latency() -> None:
    crashed = builders.measurement("int8", status=Status.CRASHED)
    found = document_of(builders.run(["int8"], ["local"], replace={("local", "int8"): crashed}))
    assert found["measurements"][0]["latency_us"] is None


def test_what_json_does_not_have_becomes_null() -> None:
    odd = builders.measurement(
        "int8",
        quality=Quality(metric="mae", value=float("inf"), n=3),
        parity=Agreement(samples=4, top1_agreement=None, max_abs_diff=float("nan"), snr_db=None),
        environment={"t": float("nan"), "nested": [{"x": float("-inf")}, (1, 2)], "ok": 1.5},
    )
    found = document_of(builders.run(["int8"], ["local"], replace={("local", "int8"): odd}))
    measured = found["measurements"][0]
    assert measured["quality"] is None
    assert measured["parity"]["max_abs_diff"] is None
    assert measured["environment"] == {"t": None, "nested": [{"x": None}, [1, 2]], "ok": 1.5}


def test_a_quality_without_an_interval_gets_one() -> None:
    bare = builders.measurement("int8", quality=Quality(metric="top1", value=0.9, n=100))
    found = document_of(builders.run(["int8"], ["local"], replace={("local", "int8"): bare}))
    assert found["measurements"][0]["quality"]["ci95"] == list(stats.wilson(90, 100))


def test_a_run_of_nothing() -> None:
    found = document_of(builders.run(measurements=()))
    assert found["measurements"] == [] and found["verdict"] == {"status": "none", "checks": []}
