"""Calibration on devices: the host's side. What devices say is bounded, checked and merged."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepack import calibrating, inloop, plan
from edgepack.compress.calibration import float_activations, measure_ranges, merged
from edgepack.compress.calibration_data import SampleParams, draw
from edgepack.compress.passes.base import Context
from edgepack.data import random_inputs
from edgepack.errors import EdgepackError
from edgepack.model import JobSettings, Signature, TensorSpec
from edgepack.transport import events
from edgepack.transport.results import Calibrated

FLOAT = (Path(__file__).parents[1] / "data" / "classifier_float.tflite").read_bytes()
TENSORS = {4: "image", 7: "class"}


def heard(ranges: Any = ((4, -1.0, 2.0), (7, 0.0, 1.0)), **changes: Any) -> Calibrated:
    data = {"sha256": "a" * 64, "bytes": 9, "split": "train", "samples": 50}
    fields = {"data": data, "samples": 20, "ranges": ranges, **changes}
    event = events.parse(json.dumps({"event": "calibrated", **fields}).encode())
    assert isinstance(event, Calibrated)
    return event


def test_what_a_device_says_is_taken() -> None:
    found = calibrating.checked_ranges(heard(), TENSORS, 20)
    assert found == {"image": (-1.0, 2.0), "class": (0.0, 1.0)}
    assert calibrating.checked_ranges(heard([(7, 0.0, 1.0)]), TENSORS, 20) == {"class": (0.0, 1.0)}


@pytest.mark.parametrize(
    "hostile",
    [
        {"ranges": [(4, float("nan"), 1.0)]},
        {"ranges": [(4, float("-inf"), 1.0)]},
        {"ranges": [(4, -1e39, 1.0)]},
        {"ranges": [(4, "-1", 1.0)]},
        {"ranges": [(-4, 0.0, 1.0)]},
        {"ranges": [(4, 0.0, 1.0, 7.0)]},
        {"ranges": [(4, 2.0, 1.0)]},
        {"ranges": [(5, 0.0, 1.0)]},
        {"ranges": [(4, 0.0, 1.0), (4, 0.0, 1.0)]},
        {"ranges": []},
        {"ranges": [(index, 0.0, 1.0) for index in range(65537)]},
        {"samples": 0},
        {"samples": 21},
        {"samples": 20, "data": {"sha256": "a", "bytes": 9, "split": "train", "samples": 50}},
        {"data": {"sha256": "a" * 64, "bytes": 9, "split": "train", "samples": 19}},
        {"data": {"sha256": "a" * 64, "bytes": 9, "split": "all", "samples": 50}},
    ],
    ids=str,
)
def test_hostile_ranges_are_refused(hostile: dict[str, Any]) -> None:
    with pytest.raises(EdgepackError) as caught:
        calibrating.checked_ranges(heard(**hostile), TENSORS, 20)
    assert caught.value.code == "EP501"


def test_merged_ranges_are_those_of_the_pooled_samples() -> None:
    images = np.random.default_rng(0).normal(1, 3, (60, 4, 4, 1)).astype(np.float32)
    parts = [images[:7], images[7:20], images[20:]]
    found = merged(measure_ranges(FLOAT, {"image": part}) for part in parts)
    assert found == measure_ranges(FLOAT, {"image": images})
    assert set(found) == set(float_activations(FLOAT).values())
    assert merged([{"x": (2.0, 3.0)}, {"x": (2.5, 4.0)}]) == {"x": (0.0, 4.0)}, "zero is within"


def test_data_in_another_unit_on_one_board_are_pointed_out() -> None:
    name = next(iter(float_activations(FLOAT).values()))
    alike = {"a": {name: (0.0, 1.0)}, "b": {name: (0.0, 0.7)}}
    assert calibrating.odd_inputs(FLOAT, alike) == ()
    (note,) = calibrating.odd_inputs(FLOAT, {**alike, "c": {name: (0.0, 255.0)}})
    assert "0 to 0.7 on b" in note and "0 to 255 on c" in note


@pytest.mark.parametrize("on_devices", [True, False])
def test_random_inputs_for_data_on_devices_come_with_the_remedy(
    on_devices: bool, tmp_path: Path
) -> None:
    image = TensorSpec(name="image", shape=(None, 4, 4, 1), dtype="float32")
    site = inloop.site((), emit=print, data="/d.npz" if on_devices else None)
    context = Context(
        source=SimpleNamespace(inputs=(image,)),  # type: ignore[arg-type]
        dataset=random_inputs(Signature(inputs=(image,), outputs=())),
        recipe="int8",
        seed=0,
        workdir=tmp_path,
        emit=print,
        data_on_devices=site.has_data,
    )
    (note,) = draw(context.source, context, SampleParams()).notes
    assert ("--calibrate-on-device" in note) == on_devices


@pytest.mark.parametrize(
    "options", [{"data": "d.npz"}, {"data": None}, {"engine": "dask://h:1"}], ids=str
)
def test_it_needs_data_on_devices_that_this_host_reaches(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"data": "device:/d.npz", **options}
    with pytest.raises(EdgepackError) as caught:
        plan.make(
            model="m",
            recipes=(),
            targets=(),
            settings=JobSettings(),
            calibrate_on_device=True,
            **given,
        )
    assert caught.value.code == "EP105"


def test_the_path_may_be_in_the_logins_home() -> None:
    made = plan.make(
        model="m", data="device:~/d.npz", recipes=(), targets=(), settings=JobSettings()
    )
    assert made.device_data == "~/d.npz"
