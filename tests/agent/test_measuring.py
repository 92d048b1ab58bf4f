"""What a host gets from a job that goes well: numbers, quality, outputs, environment."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgepack.agent import bundle

from .host import DATA, Event, Host, images, make_job, npz

Job = Callable[..., tuple[Event, dict[str, bytes]]]


def decoded(event: Event) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(event["data"]))
    return np.frombuffer(raw, event["dtype"]).reshape(event["shape"])


def test_happy_path(host: Host, job: Job, classifiers: dict[str, bytes]) -> None:
    events = host.serve(*job())
    assert host.exit_code() == 0
    assert [events[0]["event"], events[-1]["event"]] == ["hello", "done"]
    assert events[0]["digest"] == bundle().sha256
    assert host.noise == b""
    results = host.results()
    diagonal = [[label, label, int(n)] for label, n in enumerate(np.bincount(images()[1]))]
    assert list(results) == ["float", "int8"]
    for name, result in results.items():
        assert (result["status"], result["error"]) == ("ok", None)
        assert result["rounds"] >= 1
        assert result["rounds"] == sum(e["variant"] == name for e in host.all("samples"))
        assert min(host.latencies(name)) > 0
        assert result["load_ns"] > 0 and result["first_ns"] > 0
        assert result["peak_rss_bytes"] > 1 << 20
        assert result["runtime"]["name"] == "ai-edge-litert"
        assert result["accelerator"]["ops_total"] == 7
        assert 1 <= result["accelerator"]["ops_delegated"] < 7
        assert result["quality"] == {
            "metric": "top1", "value": 1.0, "n": 32, "ci95": None, "extra": {}, "extra_ci95": {},
            "correct": "ffffffff",
            "confusion": {"classes": 4, "cells": diagonal},
        }  # fmt: skip
    assert len({result["inputs_sha256"] for result in results.values()}) == 1


def test_outputs_are_those_of_the_first_samples(
    host: Host, job: Job, classifiers: dict[str, bytes]
) -> None:
    host.serve(*job(parity_samples=5))
    x, _ = images()
    outputs = {event["variant"]: decoded(event) for event in host.all("outputs")}
    for name, model in classifiers.items():
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        expected = []
        for image in x[:5]:
            real = image.astype(np.float32) * np.float32(1 / 255)
            if name == "int8":
                scale, zero = detail["quantization"]
                real = np.clip(np.rint(real / np.float32(scale)) + zero, -128, 127).astype(np.int8)
            interpreter.set_tensor(detail["index"], real[np.newaxis])
            interpreter.invoke()
            expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
        np.testing.assert_array_equal(outputs[name], np.stack(expected))


def test_wrong_labels_show_in_the_bits(host: Host) -> None:
    x, y = images()
    y[[0, 9]] = (y[[0, 9]] + 1) % 4
    changed, blobs = make_job(
        {"float": (DATA / "classifier_float.tflite").read_bytes()},
        npz(x_image=x, y=y),
        transforms={"image": {"scale": 1 / 255, "offset": 0.0}},
    )
    host.serve(changed, blobs)
    quality = host.results()["float"]["quality"]
    assert (quality["value"], quality["correct"]) == (30 / 32, "7fbfffff")


def test_quality_samples_limits_the_samples(host: Host, job: Job) -> None:
    host.serve(*job(quality_samples=10))
    assert [result["quality"]["n"] for result in host.results().values()] == [10, 10]


def test_two_inputs_with_whole_number_tokens(host: Host) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 16, (20, 5))
    weights = rng.random((20, 2), dtype=np.float32)
    score = tokens.mean(axis=1) * weights[:, 0] + 2 * tokens.mean(axis=1) * weights[:, 1]
    job, blobs = make_job(
        {"plain": (DATA / "two_inputs.tflite").read_bytes()},
        npz(x_tokens=tokens, x_weights=weights, y=score[:, np.newaxis] + 0.5),
        task="regression",
        samples=20,
    )
    host.serve(job, blobs)
    quality = host.results()["plain"]["quality"]
    assert quality["metric"] == "mae"
    assert quality["value"] == pytest.approx(0.5, abs=1e-4)
    assert quality["extra"]["rmse"] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("compressed", [False, True])
def test_compressed_and_stored_data_measure_the_same(
    host: Host, classifiers: dict[str, bytes], compressed: bool
) -> None:
    x, y = images()
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **{"x:image": x, "y": y})
    job, blobs = make_job(
        classifiers, buffer.getvalue(), transforms={"image": {"scale": 1 / 255, "offset": 0.0}}
    )
    host.serve(job, blobs)
    assert {result["quality"]["value"] for result in host.results().values()} == {1.0}


def test_without_data_inputs_are_random_and_marked(
    host: Host, classifiers: dict[str, bytes]
) -> None:
    host.serve(*make_job(classifiers))
    for result in host.results().values():
        assert result["status"] == "ok"
        assert "random-inputs" in result["flags"]
        assert result["quality"] is None


def order_of_turns(host: Host) -> list[tuple[str, int]]:
    return [(event["variant"], event["round"]) for event in host.all("samples")]


def test_same_seed_same_order(tmp_path: Path, classifiers: dict[str, bytes]) -> None:
    models = {f"v{i}": classifiers["float"] for i in range(4)}
    orders = []
    for number, seed in enumerate((3, 3, 4)):
        with Host(tmp_path / str(number) / "home") as host:
            host.serve(*make_job(models, seed=seed, ci=1.0, min_rounds=8, max_s=30.0))
            orders.append(order_of_turns(host)[:32])
    assert orders[0] == orders[1] != orders[2]
    rounds = [{name for name, number in orders[0] if number == n} for n in range(8)]
    assert rounds == [set(models)] * 8


def test_stops_as_soon_as_p50_is_known(host: Host, classifiers: dict[str, bytes]) -> None:
    host.serve(*make_job(classifiers, ci=1.0, min_rounds=6, max_s=50.0, timeout_s=60.0))
    for result in host.results().values():
        assert result["rounds"] < 1000, "of 50 s there would be several thousand"
        assert "not-converged" not in result["flags"]


def test_says_when_time_was_too_short(host: Host, classifiers: dict[str, bytes]) -> None:
    host.serve(*make_job(classifiers, min_rounds=100000, max_s=0.0))
    for result in host.results().values():
        assert result["rounds"] == 1
        assert "not-converged" in result["flags"]


def test_an_accelerator_that_is_not_there_is_never_replaced(host: Host, job: Job) -> None:
    host.serve(*job(accelerator="gpu"))
    for result in host.results().values():
        assert result["status"] == "unsupported"
        assert result["error"]["code"] == "EP504"
        assert "gpu" in result["error"]["what"]
        assert result["accelerator"]["actual"] == "none"
        assert result["rounds"] == 0


def test_data_that_do_not_fit_fail_each_variant(host: Host) -> None:
    x = np.zeros((4, 5, 5, 1), np.float32)
    changed, blobs = make_job(
        {"float": (DATA / "classifier_float.tflite").read_bytes()}, npz(x_image=x), samples=4
    )
    host.serve(changed, blobs)
    result = host.results()["float"]
    assert (result["status"], result["error"]["code"]) == ("failed", "EP303")
    assert "[1, 5, 5, 1]" in result["error"]["what"]


def test_a_pinned_version_that_is_not_used_is_flagged(host: Host, job: Job) -> None:
    changed, blobs = job()
    changed["runtimes"] = [
        {"name": "ai-edge-litert", "version": "0.0.1", "api": "interpreter", "exact": False}
    ]
    host.serve(changed, blobs)
    assert "runtime-version" in host.results()["float"]["flags"]


def test_an_exact_version_that_is_not_there_is_refused(host: Host, job: Job) -> None:
    changed, blobs = job()
    wanted = {"name": "ai-edge-litert", "version": "0.0.1", "api": "interpreter", "exact": True}
    changed["runtimes"] = [wanted]
    host.serve(changed, blobs)
    (error,) = host.all("error")
    assert error["code"] == "EP405"
    assert f"version {version('ai-edge-litert')}, not 0.0.1" in error["what"]
    assert not host.all("samples")


def test_environment_and_state(host: Host, job: Job) -> None:
    host.serve(*job())
    (environment,) = [event["environment"] for event in host.all("environment")]
    assert environment["cpu"]["cores"] >= 1
    assert environment["memory"]["total_bytes"] > 0
    assert environment["runtimes"][0]["unusable"] is None
    assert environment["emulator"] is None
    (state,) = [event["state"] for event in host.all("state")]
    assert state["cpu_time"]["ticks"] > environment["cpu_time"]["ticks"]
