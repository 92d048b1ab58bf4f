"""What the host notices about a measurement: numbers other than those the recipe says."""

from __future__ import annotations

import pytest

from edgepack.compress.recipes import parse
from edgepack.measuring import precision_flags, threads_flags
from edgepack.model import Accelerator, SweepPoint
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
