"""The main job: a Keras model in, measured variants out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from edgepack import resources
from edgepack.model.event import FIELDS, KINDS, STAGES

SCHEMA = Path(resources.__file__).parent / "report" / "schema" / "run.schema.json"


@pytest.fixture(scope="session")
def run(edgepack, model, data):
    """One real run on this machine, as its JSON document."""
    done = edgepack("run", model, "--data", data, "-r", "int8", "--max-seconds", "3", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def by_variant(document):
    return {entry["variant"]: entry for entry in document["measurements"]}


def test_the_document_is_what_its_schema_says(run):
    jsonschema.validate(run, json.loads(SCHEMA.read_text()))


def test_the_float_reference_comes_first_and_is_the_baseline(run):
    assert [variant["name"] for variant in run["variants"]] == ["float", "int8"]
    assert run["comparison"]["baseline"] == "float"


def test_what_was_measured_is_real(run):
    for entry in run["measurements"]:
        assert entry["status"] == "ok"
        assert entry["runtime"]["name"] == "ai-edge-litert"
        assert 20 < entry["latency_us"]["p50"] < 100_000
        assert entry["latency_us"]["n"] >= 10
        assert entry["quality"]["n"] == 2000
        assert entry["quality"]["value"] > 0.9
        assert entry["parity"]["top1_agreement"] == 1.0


def test_int8_is_a_quarter_of_float_and_agrees(run):
    sizes = {variant["name"]: variant["bytes"] for variant in run["variants"]}
    assert sizes["int8"] < 0.3 * sizes["float"]
    quality = {name: entry["quality"]["value"] for name, entry in by_variant(run).items()}
    assert quality["int8"] > quality["float"] - 0.01


def test_a_second_run_builds_nothing_and_gives_the_same_package(run, edgepack, model, data):
    again = edgepack("run", model, "--data", data, "-r", "int8", "--max-seconds", "1", "--json")
    assert json.loads(again.stdout)["package"]["digest"] == run["package"]["digest"]
    assert "int8 is in the cache" in again.stderr


def test_the_history_compares_gates_and_reports_it(run, edgepack, tmp_path):
    assert "int8" in edgepack("compare", run["run_id"]).stdout
    budget = tmp_path / "budget.toml"
    budget.write_text('[budget."*"]\nvariant = "int8"\nlatency_p50_ms = 1000.0\nbytes = 500_000\n')
    passed = edgepack("gate", run["run_id"], "--budget", str(budget))
    assert passed.returncode == 0, passed.stdout + passed.stderr
    budget.write_text('[budget."*"]\nvariant = "int8"\nbytes = 1000\n')
    assert edgepack("gate", run["run_id"], "--budget", str(budget)).returncode == 1
    budget.write_text("[budget.pi4]\nbytes = 500_000\n")
    assert edgepack("gate", run["run_id"], "--budget", str(budget)).returncode == 4
    budget.write_text('[budget."*"]\nvariant = "int8"\nbytes = 500_000\n')
    for ending in ("html", "md", "xml", "json"):
        target = tmp_path / f"report.{ending}"
        done = edgepack("report", run["run_id"], "-o", str(target), "--budget", str(budget))
        assert done.returncode == 0, done.stderr
        assert "int8" in target.read_text()


def test_results_are_on_stdout_and_everything_else_on_stderr(edgepack, model, data):
    done = edgepack("run", model, "--data", data, "--max-seconds", "1", "--events")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"stage", "samples", "measured"} <= {event["kind"] for event in events} <= set(KINDS)
    assert {event["stage"] for event in events} <= set(STAGES)
    assert {tuple(event) for event in events} == {tuple(FIELDS)}
    quiet = edgepack("run", model, "--data", data, "--max-seconds", "1", "-q")
    assert quiet.stderr == ""
    assert "float" in quiet.stdout


def test_a_dry_run_does_nothing(edgepack, model, data):
    before = edgepack("runs", "ls", "--json").stdout
    done = edgepack("run", model, "--data", data, "-r", "int8", "--dry-run")
    assert done.returncode == 0
    assert "quantize.int8" in done.stdout
    assert edgepack("runs", "ls", "--json").stdout == before


def test_a_device_that_cannot_be_reached_costs_nobody_else_a_result(
    edgepack, model, data, tmp_path
):
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    registry = tmp_path / "devices.toml"
    registry.write_text(
        '[device.gone]\nprofile = "raspberry-pi-4"\nhost = "127.0.0.1"\nport = 1\nuser = "pi"\n'
        f'host_keys = ["{key}"]\n'
    )
    args = ("--data", data, "--max-seconds", "1", "--json", "-d", "local", "-d", "gone")
    done = edgepack("run", model, *args, EDGEPACK_DEVICES=str(registry))
    assert done.returncode == 4, done.stderr
    statuses = {m["device"]: m["status"] for m in json.loads(done.stdout)["measurements"]}
    assert statuses == {"local": "ok", "gone": "unreachable"}
    assert "EP401" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".keras", b""), (".keras", b"PK\x03\x04broken"), (".h5", b"text"), (".tflite", b"text")],
)
def test_a_file_that_is_no_model_is_one_coded_error(edgepack, data, tmp_path, ending, content):
    file = tmp_path / f"model{ending}"
    file.write_bytes(content)
    done = edgepack("run", str(file), "--data", data)
    assert done.returncode == 3, done.stderr
    assert "EP202" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_model_is_one_coded_error(edgepack, model, data, tmp_path):
    file = tmp_path / "half.keras"
    whole = Path(model).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    done = edgepack("run", str(file), "--data", data)
    assert done.returncode == 3
    assert "EP202" in done.stderr


def test_data_that_does_not_fit_is_one_coded_error(edgepack, model, tmp_path):
    import numpy as np

    np.savez(tmp_path / "d.npz", x_test=np.zeros((4, 5), "float32"), y_test=np.zeros(4, "int64"))
    done = edgepack("run", model, "--data", str(tmp_path / "d.npz"))
    assert done.returncode == 2, done.stderr
    assert "EP303" in done.stderr


def test_ctrl_c_keeps_what_was_measured(environment, model, data, tmp_path, edgepack, run):
    before = json.loads(edgepack("runs", "ls", "--json").stdout)["runs"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgepack.cli.main", "run", model, "--data", data),
            *("-r", "int8", "--mode", "sustained", "--max-seconds", "60", "--events"),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if (event["kind"], event["stage"]) == ("progress", "measure"):
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.read()
    assert process.wait(timeout=30) == 130
    after = json.loads(edgepack("runs", "ls", "--json").stdout)["runs"]
    assert len(after) == len(before) + 1
    shown = json.loads(edgepack("runs", "show", "latest", "--json").stdout)
    assert any(m["latency_us"] and m["latency_us"]["n"] > 0 for m in shown["measurements"])
