"""Evaluation data that live on the board: judged by, never sent, and nothing else opened."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgepack_agent import inputs
from edgepack_agent import job as jobs
from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Tensor

from edgepack import config, plan
from edgepack.errors import EdgepackError
from edgepack.model import Device, JobSettings

from .host import Event, Host, images, make_job

Job = Callable[..., tuple[Event, dict[str, bytes]]]


@pytest.fixture
def ask(host: Host, classifiers: dict[str, bytes]) -> Callable[[str], None]:
    """Measure the float classifier by the data of that path."""

    def serve(path: str) -> None:
        one = {"float": classifiers["float"]}
        host.serve(*make_job(one, None, device_data=path, max_s=0.1))

    return serve


def test_a_users_own_file_is_judged_by(host: Host, ask, tmp_path: Path) -> None:
    x, y = images()
    y[3] = (y[3] + 1) % 4
    file = tmp_path / "private data.npz"
    np.savez(file, x_test=x, y_test=y, x_train=x[:1], scale=1 / 255)
    ask(str(file))
    result = host.results()["float"]
    assert (result["quality"]["value"], result["quality"]["n"]) == (31 / 32, 32)
    assert "device-data" in result["flags"] and "random-inputs" not in result["flags"]
    (told,) = (event["environment"]["data"] for event in host.all("environment"))
    assert told == {
        "path": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "samples": 32,
        "task": "classification",
    }


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "EP301"),
        (lambda path: path.mkdir(), "EP301"),
        (lambda path: os.mkfifo(path), "EP301"),
        (lambda path: path.symlink_to("/dev/zero"), "EP301"),
        (lambda path: path.write_bytes(b"root:x:0:0\n"), "EP302"),
        (lambda path: np.savez(path, y_test=np.zeros(3)), "EP302"),
        (lambda path: np.savez(path, x_test=np.array([{}])), "EP302"),
        (lambda path: overwritten(path), "EP302"),
        (lambda path: beheaded(path), "EP302"),
        (lambda path: np.savez(path, x_test=np.full((9, 4, 4, 1), np.nan)), "EP302"),
        (lambda path: np.savez(path, x_test=images()[0], y_test=np.full(32, np.inf)), "EP302"),
    ],
    ids=[
        "missing",
        "folder",
        "pipe",
        "device",
        "text",
        "no-inputs",
        "objects",
        "damaged",
        "beheaded",
        "not-a-number",
        "infinite",
    ],
)
def test_what_is_no_data_ends_the_job(host: Host, ask, tmp_path: Path, make, code: str) -> None:
    file = tmp_path / "d.npz"
    make(file)
    ask(str(file))
    (error,) = host.all("error")
    assert error["code"] == code
    assert "root:x" not in str(error), "nothing of a file's content is told"


def beheaded(path: Path) -> None:
    """Its directory, at the end, speaks of places before its beginning."""
    np.savez(path, x_test=np.zeros((2, 2), np.float32), y_test=np.arange(2))
    path.write_bytes(path.read_bytes()[1:])


def overwritten(path: Path) -> None:
    """Whole, but for bytes of an array that is mapped."""
    np.savez(path, x_test=np.zeros((32, 4, 4, 1), np.uint8), y_test=np.zeros(32, np.int64))
    content = bytearray(path.read_bytes())
    place = content.index(bytes(400))
    content[place : place + 100] = b"x" * 100
    path.write_bytes(content)


@pytest.mark.parametrize("label", [-1, 4])
def test_classes_that_the_model_does_not_have_are_no_wrong_answers(
    host: Host, ask, tmp_path: Path, label: int
) -> None:
    x, y = images()
    y[3] = label
    np.savez(tmp_path / "d.npz", x_test=x, y_test=y)
    ask(str(tmp_path / "d.npz"))
    result = host.results()["float"]
    assert (result["status"], result["error"]["code"]) == ("failed", "EP303")
    assert "the model has 4 classes" in result["error"]["what"]


@pytest.mark.parametrize("path", ["relative.npz", "", "/a\0b", "/" + "a" * 5000, 3])
def test_a_hostile_path_is_refused_before_anything_is_opened(classifiers, path: object) -> None:
    message, _ = make_job(classifiers, None, device_data=path)
    with pytest.raises(AgentError) as caught:
        jobs.read(message)
    assert caught.value.code == "EP105"


def test_it_goes_without_other_data(classifiers) -> None:
    message, _ = make_job(classifiers, b"data", device_data="/d.npz")
    with pytest.raises(AgentError) as caught:
        jobs.read(message)
    assert caught.value.code == "EP105"


def made(data: str, **options: object) -> plan.Plan:
    board = Device(name="board", profile="desktop", host="192.0.2.1")
    target = plan.Target(device=board, profile=config.load_profile("desktop"))
    return plan.make(
        model="m", data=data, recipes=(), targets=(target,), settings=JobSettings(), **options
    )  # type: ignore[arg-type]


def test_a_plan_knows_data_on_the_devices() -> None:
    assert made("device:/data/d.npz").device_data == "/data/d.npz"
    assert made("folder/device:x.npz").device_data is None


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("device:d.npz", {}),
        ("device:/d.npz", {"quality": ("map",)}),
        ("device:/d.npz", {"bisect": True}),
        ("device:/d.npz", {"require_signed": True}),
    ],
)
def test_what_does_not_go_with_it(data: str, options: dict[str, object]) -> None:
    with pytest.raises(EdgepackError) as caught:
        made(data, **options)
    assert caught.value.code == "EP105"


def test_large_data_are_not_counted_as_memory_of_the_model(tmp_path: Path) -> None:
    def mapped() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"RssFile:\s+(\d+) kB", status)[0]) << 10

    elements, count = 1 << 18, 64
    np.savez(tmp_path / "d.npz", **{"x:x": np.ones((count, elements), np.float32)})
    wanted = Tensor("x", 0, (-1, elements), np.dtype("float32"), None, 0)
    samples = inputs.from_file(str(tmp_path / "d.npz"), [wanted], {})
    before = mapped()
    for index in range(count):
        assert samples.get(index)[0].sum() == elements, "as it was before the pages were let go"
        assert mapped() - before < inputs.HELD_BYTES + (4 << 20)
    samples.digest(list(range(count)))
    assert mapped() - before < inputs.HELD_BYTES + (4 << 20)
