"""Calibration where the data live: the agent's side. Ranges leave the board, samples do not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgepack_agent import calibrate, job, memory
from edgepack_agent.errors import AgentError
from edgepack_agent.protocol import Writer

from edgepack.compress.calibration import choose_rows, float_activations, measure_ranges

from .host import DATA, Event, Host, sha256

FLOAT = (DATA / "classifier_float.tflite").read_bytes()
TENSORS = float_activations(FLOAT)
WRITER = Writer(io.BytesIO())


def asked(path: str, model: bytes | None = FLOAT, **changes: Any) -> tuple[Event, dict[str, bytes]]:
    """A `calibrate` message and its blobs."""
    blobs = {} if model is None else {sha256(model): model}
    message = {
        "type": "calibrate",
        "schema": "edgepack.calibrate/1",
        "owner": "tests",
        "wait_s": 5,
        "timeout_s": 60,
        "blobs": [{"sha256": key, "bytes": len(content)} for key, content in blobs.items()],
        "model": next(iter(blobs), None),
        "tensors": list(TENSORS) if model else [],
        "data": path,
        "samples": 200,
        "seed": 3,
        "runtimes": [
            {"name": "ai-edge-litert", "version": None, "api": "interpreter", "exact": False}
        ],
        "sys_path": [],
        "threads": 1,
    }
    return {**message, **changes}, blobs


@pytest.fixture
def answer(host: Host) -> Callable[..., Event]:
    """The `calibrated` event, or else the `error`, of a message."""

    def ask(path: str | Path, *args: Any, **changes: Any) -> Event:
        message, blobs = asked(str(path), *args, **changes)
        host.send(message)
        host.push(blobs)
        host.rest()
        (found,) = host.all("calibrated") or host.all("error")
        return found

    return ask


def test_only_ranges_leave_the_board_and_they_are_the_hosts(
    host: Host, answer, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(3, 40, (900, 4, 4, 1)).astype(np.float32)
    file = tmp_path / "private.npz"
    np.savez(file, x_train=images, x_test=1e6 * images[:5], scale=0.5, offset=1.0)
    found = answer(file)
    rows = choose_rows(900, 200, seed=3)
    expected = measure_ranges(FLOAT, {"image": images[rows] * np.float32(0.5) + np.float32(1)})
    ranges = {TENSORS[slot]: (low, high) for slot, low, high in found["ranges"]}
    assert {name: (min(0.0, low), max(0.0, high)) for name, (low, high) in ranges.items()} == (
        expected
    )
    assert found["samples"] == 200
    told = {"sha256": sha256(file.read_bytes()), "bytes": file.stat().st_size}
    assert found["data"] == {**told, "split": "train", "samples": 900}
    kinds = {event["event"] for event in host.events}
    assert kinds <= {"hello", "lease", "need", "stored", "progress", "alive", "calibrated", "done"}
    assert len(json.dumps(host.events)) < 3000, "58 kB of samples stay where they are"


def test_without_a_model_it_is_asked_what_the_data_are(answer, tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    np.savez(file, **{"x_test:image": np.zeros((7, 4, 4, 1), np.uint8)})
    found = answer(file, None)
    assert (found["data"]["split"], found["data"]["samples"]) == ("test", 7)
    assert (found["samples"], found["ranges"], found["runtime"]) == (0, [], None)


def test_data_in_the_home_of_the_login(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert job.read_calibration(asked("~/d.npz", None)[0]).data == "/home/somebody/d.npz"


def command(folder: Path, data: Path, model: bytes = FLOAT, **changes: Any) -> dict[str, Any]:
    """What a worker is asked to do."""
    file = folder / "model.tflite"
    file.write_bytes(model)
    fields = {"tensors": list(TENSORS), "samples": 200, "seed": 3, "threads": 1}
    fields |= {"runtime": "ai-edge-litert", "model": str(file), "path": str(data)}
    return {**fields, **changes}


def saved(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("make", "changes", "code"),
    [
        (lambda path: None, {}, "EP301"),
        (lambda path: path.symlink_to("/dev/zero"), {}, "EP301"),
        (lambda path: path.write_bytes(b"root:x:0:0\n"), {}, "EP302"),
        (saved(y_train=np.zeros(3)), {}, "EP302"),
        (saved(x_train=np.zeros((0, 4, 4, 1))), {}, "EP302"),
        (saved(x_train=np.array([{}])), {}, "EP302"),
        (saved(x_train=np.zeros((3, 5, 5, 1), np.float32)), {}, "EP303"),
        (saved(x_train=np.full((3, 4, 4, 1), np.nan, np.float32)), {}, "EP303"),
        (saved(x_test=np.zeros((3, 4, 4, 1))), {"tensors": [999]}, "EP105"),
        (saved(x_test=np.zeros((3, 4, 4, 1))), {"model": b"no model"}, "EP502"),
    ],
    ids=["missing", "device", "text", "no-inputs", "empty", "objects", "shape", "nan", "tensor",
         "model"],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_one_coded_error(
    tmp_path: Path, make, changes: dict[str, Any], code: str
) -> None:
    file = tmp_path / "d.npz"
    make(file)
    with pytest.raises(AgentError) as caught:
        survey = calibrate.survey(str(file))
        calibrate.ranges({**command(tmp_path, file, **changes), "split": survey["split"]}, WRITER)
    assert caught.value.code == code, caught.value
    assert "root:x" not in str(caught.value), "nothing of a file's content is told"


def test_a_refusal_reaches_the_host(answer, tmp_path: Path) -> None:
    assert answer(tmp_path / "missing.npz")["code"] == "EP301"


def test_a_strict_board_runs_no_model_that_nobody_signed(
    host: Host, answer, home: Path, tmp_path: Path
) -> None:
    home.mkdir(exist_ok=True)
    (home / "allowed_signers").write_text("nobody ssh-ed25519 AAAA\n")
    message, _ = asked(str(tmp_path / "d.npz"))
    host.send(message)
    host.rest()
    assert [error["code"] for error in host.all("error")] == ["EP209"]
    assert not host.all("need")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tensors": list(range(job.MAX_TENSORS + 1))}, "EP105"),
        ({"samples": 100_001}, "EP105"),
        ({"samples": 0}, "EP105"),
        ({"data": "d.npz"}, "EP105"),
        ({"model": "b" * 64}, "EP105"),
        ({"outputs": True}, "EP501"),
    ],
)
def test_a_message_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(AgentError) as caught:
        job.read_calibration({**asked("/d.npz")[0], **changes})
    assert caught.value.code == code


def test_a_board_without_the_memory_says_so_before_it_runs_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "d.npz"
    np.savez(file, x_train=np.zeros((3, 4, 4, 1), np.float32))
    assert (memory.available_bytes() or 0) > 1 << 20
    monkeypatch.setattr(memory, "available_bytes", lambda: 100)
    with pytest.raises(AgentError) as caught:
        calibrate.ranges({**command(tmp_path, file), "split": "train"}, WRITER)
    assert caught.value.code == "EP505"
