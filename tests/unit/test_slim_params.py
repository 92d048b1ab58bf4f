"""Parameters of `prune.structured` that make no sense are refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepack.compress import passes, recipes
from edgepack.errors import EdgepackError
from edgepack.model import PassSpec


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "none of them"),
        ({"ratio": 0.5, "macs": 0.5}, "ratio and macs"),
        ({"latency_ms": 2.0, "widths": {"stem": 8}}, "latency_ms and widths"),
        ({"ratio": 0.5, "floor": 0}, "floor"),
        ({"ratio": 0.5, "recover": 2}, "2 steps"),
        ({"widths": {"stem": 8}, "steps": 3}, "one step"),
    ],
)
def test_what_makes_no_sense_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgepackError, match=said) as caught:
        passes.make(PassSpec(name="prune.structured", params=params))
    assert caught.value.code == "EP105"


@pytest.mark.parametrize(
    "params",
    [
        {"ratio": 0.5, "steps": 2, "recover": 1},
        {"latency_ms": 2.0, "steps": 4},
        {"widths": {"stem": 8}},
        {"params": 0.5, "floor": 0.01},
    ],
)
def test_what_makes_sense_is_not(params: dict[str, Any]) -> None:
    assert passes.make(PassSpec(name="prune.structured", params=params))


def test_a_recipe_file_without_a_target_is_refused_as_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[pass]]\nname = "prune.structured"\nimportance = "l1"\n')
    with pytest.raises(EdgepackError, match="latency_ms") as caught:
        recipes.parse(str(file))
    assert caught.value.code == "EP105"
