"""What is made of measurements without times: an error of the device, never a crash."""

from __future__ import annotations

import pytest

from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Status
from edgepack.searching.gauge import SOURCE, Setting
from edgepack.searching.readings import Readings

SETTING = Setting()


def measured(*excluded: int) -> Measurement:
    return Measurement(
        variant="v",
        device="pi4",
        profile="p",
        status=Status.OK,
        rounds=((1000, 1000), (1100, 1100)),
        excluded=excluded,
    )


def test_a_kernel_is_timed_by_the_source_beside_it() -> None:
    readings = Readings(request=None, foundry=None)  # type: ignore[arg-type]
    results = {SOURCE: measured(), "k": measured()}
    assert readings.microseconds("pi4", SETTING, "k", results) == pytest.approx(1.0)


@pytest.mark.parametrize("lost", [SOURCE, "k"])
def test_nothing_but_disturbed_rounds_is_an_error_of_the_device(lost: str) -> None:
    readings = Readings(request=None, foundry=None)  # type: ignore[arg-type]
    results = {SOURCE: measured(), "k": measured(), lost: measured(0, 1)}
    with pytest.raises(EdgepackError) as told:
        readings.microseconds("pi4", SETTING, "k", results)
    assert (told.value.code, told.value.where) == ("EP502", "pi4")
    assert "disturbed" in told.value.what
