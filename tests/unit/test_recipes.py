"""The recipe grammar and TOML recipes, and what they refuse. No TensorFlow is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepack.compress import passes, recipes
from edgepack.errors import EdgepackError
from edgepack.model import PassSpec


def _code(code: str):
    return pytest.raises(EdgepackError, check=lambda error: error.code == code)


def _steps(name: str) -> list[tuple[str, dict[str, object]]]:
    return [(spec.name, dict(spec.params)) for spec in recipes.parse(name).passes]


def test_names_expand_to_passes_in_order() -> None:
    assert _steps("float") == [("convert.float", {})]
    assert _steps("int8") == [("quantize.int8", {})]
    assert _steps("int16x8") == [("quantize.int16x8", {})]
    assert _steps("prune50-int8") == [
        ("prune.magnitude", {"sparsity": 0.5}),
        ("quantize.int8", {}),
    ]


def test_a_name_without_a_converting_token_ends_in_float() -> None:
    assert _steps("prune80") == [("prune.magnitude", {"sparsity": 0.8}), ("convert.float", {})]


@pytest.mark.parametrize("name", ["int9", "prune", "prune50_int8", "", "int8-", "fp16x", "as-is"])
def test_unknown_names(name: str) -> None:
    with _code("EP102"):
        recipes.parse(name)


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(EdgepackError) as caught:
        recipes.parse("prun50-int8")
    assert "Did you mean 'prune50-int8'?" in caught.value.hint


@pytest.mark.parametrize("name", ["int8-prune50", "int8-float", "prune0-int8", "prune100"])
def test_senseless_orders_and_values(name: str) -> None:
    with _code("EP105"):
        recipes.parse(name)


def test_every_listed_name_parses() -> None:
    names = recipes.names()
    assert {"float", "fp16", "dynamic", "int8", "prune50-int8"} <= set(names)
    for name in names:
        assert recipes.parse(name).name == name


def _toml(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_a_toml_recipe(tmp_path: Path) -> None:
    recipe = recipes.parse(
        _toml(
            tmp_path,
            'seed = 3\n[[pass]]\nname = "prune.magnitude"\nsparsity = 0.7\nsteps = 5\n'
            '[[pass]]\nname = "quantize.int8"\nsamples = 20\n',
        )
    )
    assert (recipe.name, recipe.seed) == ("mine", 3)
    assert recipe.passes[0] == PassSpec(
        name="prune.magnitude", params={"sparsity": 0.7, "steps": 5}
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[[pass]\n", "EP104"),
        ("nmae = 'x'\n", "EP105"),
        ("seed = 'x'\n", "EP105"),
        ("pass = 3\n", "EP105"),
        ("[[pass]]\nsparsity = 0.5\n", "EP105"),
        ("[[pass]]\nname = 'prune.magnitud'\n", "EP102"),
        ("[[pass]]\nname = 'prune.magnitude'\nsparsitty = 0.5\n", "EP105"),
        ("[[pass]]\nname = 'prune.magnitude'\nsparsity = 'much'\n", "EP105"),
        ("[[pass]]\nname = 'prune.magnitude'\nschedule = 'sudden'\n", "EP105"),
        ("name = '../evil'\n", "EP105"),
    ],
)
def test_bad_toml_recipes(tmp_path: Path, text: str, code: str) -> None:
    with _code(code):
        recipes.parse(_toml(tmp_path, text))


def test_a_missing_recipe_file(tmp_path: Path) -> None:
    with _code("EP102"):
        recipes.parse(str(tmp_path / "none.toml"))


def test_canonical_recipes_hold_the_defaults(tmp_path: Path) -> None:
    plain = recipes.canonical(recipes.parse("prune50-int8"))
    spelled = recipes.parse(
        _toml(
            tmp_path,
            'name = "other"\n[[pass]]\nname = "prune.magnitude"\nsparsity = 0.5\n'
            'schedule = "polynomial"\n[[pass]]\nname = "quantize.int8"\n',
        )
    )
    assert recipes.canonical(spelled) == plain
    assert recipes.canonical(recipes.parse("prune60-int8")) != plain


def test_passes_describe_themselves() -> None:
    for name, kind in passes.known().items():
        assert kind.name == name
        assert kind.summary


def test_parsing_imports_no_tensorflow() -> None:
    code = (
        "import sys; from edgepack.compress import recipes; recipes.names();"
        "recipes.parse('prune50-int8');"
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras', 'tf_keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
