"""What the host notices about a measurement: numbers other than those the recipe says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgepack import bisect, measuring
from edgepack.compress.recipes import parse
from edgepack.errors import EdgepackError
from edgepack.measuring import precision_flags, threads_flags
from edgepack.model import Accelerator, Agreement, Event, Measurement, SweepPoint
from tests import builders


@pytest.mark.parametrize(
    ("recipe", "types", "flags"),
    [
        ("float", {"float32": 9}, ()),
        ("float", {"float32": 7, "int8": 2}, ("not-float",)),
        ("fp16", {"float32": 7, "hybrid": 2}, ("not-float",)),
        ("dynamic", {"float32": 7, "hybrid": 2}, ()),
        ("int8", {"int8": 9}, ()),
        ("int8", {"float32": 9}, ("not-int8",)),
        ("mixed", {"float32": 3, "int8": 6}, ()),
        ("int8", {}, ()),  # a runtime that does not list its operations
    ],
)
def test_a_file_that_is_not_what_its_recipe_says(
    recipe: str, types: dict[str, int], flags: tuple[str, ...]
) -> None:
    measured = builders.measurement("m", accelerator=Accelerator(types=types))
    assert precision_flags(measured, parse(recipe)) == flags


@pytest.mark.parametrize(("cores", "over"), [(4, False), (3, True), (None, False)])
def test_more_threads_than_cores_are_told(cores: int | None, over: bool) -> None:
    point = SweepPoint(threads=4, medians_ns=(1000,))
    environment = {"cpu": {"cores": cores}}
    measured = builders.measurement("m", threads=1, sweep=(point,), environment=environment)
    assert threads_flags(measured) == (("more-threads-than-cores",) if over else ())


def bisected(measured: Measurement) -> tuple[Measurement, list[Event]]:
    """The measurement after a bisection, and what was told of it."""
    told: list[Event] = []
    reference: Any = SimpleNamespace(inputs=dict)
    job: Any = None
    return measuring._bisected(measured, job, Path(), reference, told.append), told


@pytest.mark.parametrize(
    ("parity", "said"),
    [
        (Agreement(samples=8, top1_agreement=1.0, max_abs_diff=0.0, snr_db=None),
         "outputs are this host's: nothing to bisect"),
        (None, "outputs could not be compared with this host's: nothing to bisect"),
    ],
)  # fmt: skip
def test_a_bisection_of_nothing_is_told(parity: Agreement | None, said: str) -> None:
    measured = builders.measurement("m", parity=parity)
    left, (event,) = bisected(measured)
    assert left == measured
    assert (event.kind, event.message, event.device, event.variant) == ("fact", said, "local", "m")
    assert bisected(builders.failed("m"))[1] == [], "its failure is told already"


def test_why_a_bisection_failed_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise EdgepackError("EP205", "cannot be taken apart", hint="Leave it out.")

    monkeypatch.setattr(bisect, "first_difference", broken)
    left, (event,) = bisected(builders.measurement("m"))
    assert left.flags == ("not-bisected",)
    assert event.kind == "warning" and "cannot be taken apart" in event.message
