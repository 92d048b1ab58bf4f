"""Calibration where the data live, over real SSH: two boards, each with half of the data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgepack import config, library
from edgepack.calibrating import DeviceCalibrator
from edgepack.compress.calibration import measure_ranges
from edgepack.compress.flatbuffer_quantizer import Rule, edge_quantize
from edgepack.errors import EdgepackError
from edgepack.fleet import errand
from edgepack.model import Event, JobSettings
from edgepack.plan import Target
from edgepack.registry import Registry
from edgepack.transport.framing import Decoder

from .conftest import DATA
from .sshd import Sshd

FLOAT = (DATA / "classifier_float.tflite").read_bytes()
DATA_HERE = "device:~/private.npz"
QUICK = JobSettings(timeout_s=120.0)


@dataclass
class Fleet:
    """Two boards. images: all of their samples; files: where each board keeps its own."""

    targets: list[Target]
    images: np.ndarray
    files: dict[str, Path]


@pytest.fixture
def fleet(start_sshd: Callable[..., Sshd], tmp_path: Path) -> Fleet:
    images = np.random.default_rng(0).normal(1, 3, (2000, 4, 4, 1)).astype(np.float32)
    targets, files = [], {}
    for name, part in (("a", images[:700]), ("b", images[700:])):
        home = tmp_path / f"home-{name}"
        home.mkdir()
        files[name] = home / "private.npz"
        np.savez(files[name], x_train=part)
        board = start_sshd(name, environment=f"HOME={home}").device(name)
        targets.append(Target(device=board, profile=config.load_profile("desktop")))
        Registry(config.devices_file()).add(board)
    return Fleet(targets, images, files)


@pytest.fixture
def transcript(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Every byte that the boards say."""
    heard = bytearray()

    class Recording(Decoder):
        def feed(self, data: bytes) -> list[bytes]:
            heard.extend(data)
            return list(super().feed(data))

    monkeypatch.setattr(errand, "Decoder", Recording)
    return heard


def test_two_boards_give_what_the_host_finds_on_the_pooled_data(
    fleet: Fleet, transcript: bytearray
) -> None:
    boards = DeviceCalibrator(fleet.targets, "~/private.npz", QUICK, emit=lambda event: None)
    found = boards.ranges(FLOAT, samples=5000, seed=1)
    pooled = measure_ranges(FLOAT, {"image": fleet.images})
    assert found.ranges == pooled
    assert edge_quantize(FLOAT, [Rule()], found.ranges) == edge_quantize(FLOAT, [Rule()], pooled)
    assert [(one.device, one.samples, one.split) for one in found.sources] == [
        ("a", 700, "train"),
        ("b", 1300, "train"),
    ]
    assert found.notes == ()
    records = [json.loads(line) for line in transcript.split(b"\x1e")[1:]]
    kinds = {record["event"] for record in records}
    assert "calibrated" in kinds and not kinds & {"samples", "outputs", "result"}
    assert len(transcript) < 10_000, "128 kB of samples stay on the boards"
    before = len(transcript)
    assert boards.ranges(FLOAT, samples=5000, seed=1) is found
    assert len(transcript) == before, "the same question is asked once"


def test_what_is_cached_goes_by_the_data_of_every_board(fleet: Fleet) -> None:
    def digest() -> str:
        boards = DeviceCalibrator(fleet.targets, "~/private.npz", QUICK, emit=lambda event: None)
        return boards.data_digest

    before = digest()
    np.savez(fleet.files["b"], x_train=fleet.images[701:])
    assert digest() != before


def test_a_board_that_fails_is_named_and_ends_it(fleet: Fleet) -> None:
    fleet.files["b"].unlink()
    boards = DeviceCalibrator(fleet.targets, "~/private.npz", QUICK, emit=lambda event: None)
    with pytest.raises(EdgepackError) as caught:
        boards.ranges(FLOAT, samples=50, seed=1)
    assert (caught.value.code, caught.value.where) == ("EP301", "b")


def model(folder: Path) -> str:
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    scores = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    file = folder / "tiny.keras"
    keras.Model(image, scores).save(file)
    return str(file)


@pytest.mark.tensorflow
def test_a_package_calibrated_on_boards_is_that_of_the_pooled_data(
    fleet: Fleet, tmp_path: Path
) -> None:
    source, told = model(tmp_path), list[Event]()
    rules, int8 = tmp_path / "rules.toml", tmp_path / "plain.toml"
    rules.write_text('[[pass]]\nname = "quantize.rules"\nsamples = 5000\n')
    int8.write_text('[[pass]]\nname = "quantize.int8"\nsamples = 5000\n')

    def on_boards() -> library.Built:
        told.clear()
        return library.build(
            source,
            data=DATA_HERE,
            calibrate_on=["a", "b"],
            recipes=[str(int8)],
            progress=told.append,
        )

    boards = on_boards()
    assert [event for event in told if event.message == "calibrating on a, b"]
    pooled = {"x_train": fleet.images, "x_test": fleet.images[:9]}
    host = library.build(source, data=pooled, recipes=[str(rules)])
    assert boards.tflite("plain").read_bytes() == host.tflite("rules").read_bytes()
    (report,) = boards.package.variant("plain").lineage
    assert [(one.device, one.samples) for one in report.calibration] == [("a", 700), ("b", 1300)]
    assert "700 train samples on a" in report.facts[0]
    on_boards()
    assert not [event for event in told if "calibrating on" in event.message], "cached"
