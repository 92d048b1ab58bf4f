"""Recipes: ordered passes, from a built-in name or a TOML file.

A built-in name is tokens joined by hyphens; every token is a pass in the order it runs:

    NAME   := TOKEN ("-" TOKEN)*
    TOKEN  := WORD [NUMBER]

    float       float32 weights; what a name without a converting token ends with
    fp16        float16 weights, float32 arithmetic where the device has no float16
    dynamic     int8 weights, float32 activations quantized on the fly
    int8        int8 throughout, inputs and outputs too, calibrated from the data
    int16x8     int16 activations with int8 weights, calibrated from the data
    int4w       int4 weights for convolutions and dense layers, float activations
    mixed       int8, but for the fewest operators in float that the quality needs
    pruneNN     NN% of each kernel's weights become zero, by magnitude

so `prune50-int8` prunes half of the weights and then quantizes. Installed passes can add
words (`Pass.tokens`); `edgepack recipe ls` lists what is there.

A TOML file gives the parameters that a name leaves at their defaults:

    name = "prune80-slow"      # optional; the file's name otherwise
    seed = 1                   # optional; 0
    [[pass]]
    name = "prune.magnitude"
    sparsity = 0.8
    epochs = 4
    [[pass]]
    name = "quantize.int8"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepack.compress import passes
from edgepack.compress.passes.base import Token
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import PassSpec, Recipe

FLOAT = "convert.float"
AS_IS = "as-is"

# Names that `names()` offers besides the single words, as far as their passes are installed.
_EXAMPLES = ("prune50-int8", "slim50-int8", "slim50-distill-int8")
# A recipe's name becomes a file name on disk and a label in reports.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse(name_or_path: str) -> Recipe:
    """The recipe of a built-in name or of a TOML file (anything that ends in .toml).

    Errors: EP102 unknown recipe, token or pass; EP104 a file that cannot be read; EP105 a
    parameter or an order of passes that makes no sense.
    """
    if name_or_path.endswith(".toml"):
        return _from_file(Path(name_or_path))
    specs = []
    for token in name_or_path.split("-"):
        spec = _expand(token)
        if spec is None:
            raise _unknown(name_or_path, token)
        specs.append(spec)
    return _checked(name_or_path, tuple(specs), seed=0, where=None)


def names() -> list[str]:
    """Built-in names to choose from: every word that needs no number, and a few chains."""
    words = [word for word, (_, token) in _tokens().items() if not token.required]
    return sorted(words) + [name for name in _EXAMPLES if all(map(_expand, name.split("-")))]


def canonical(recipe: Recipe) -> dict[str, Any]:
    """The recipe with every default filled in; two recipes that build alike are equal."""
    return {
        "seed": recipe.seed,
        "passes": [passes.make(spec).canonical() for spec in recipe.passes],
    }


def for_hardware(recipe: Recipe, profile: Mapping[str, Any]) -> Recipe:
    """The recipe with what it leaves to the hardware filled in from a profile's values."""
    filled = []
    for spec in recipe.passes:
        keys = passes.make(spec).from_profile
        given = {name: profile[key] for name, key in keys.items() if key in profile}
        filled.append(PassSpec(name=spec.name, params={**given, **spec.params}))
    return replace(recipe, passes=tuple(filled))


def _tokens() -> dict[str, tuple[str, Token]]:
    """Word -> (pass name, token), of all installed passes."""
    return {token.word: (name, token) for name, p in passes.known().items() for token in p.tokens}


def _expand(text: str) -> PassSpec | None:
    """One token as a pass. Whole words win, so that int8 is not `int` with the number 8."""
    tokens = _tokens()
    if text in tokens and not tokens[text][1].required:
        return PassSpec(name=tokens[text][0])
    match = re.fullmatch(r"(.*?[a-z])(\d+)", text)
    if match is None or match[1] not in tokens:
        return None
    name, token = tokens[match[1]]
    if token.number is None:
        return None
    return PassSpec(name=name, params={token.number: round(int(match[2]) * token.factor, 9)})


def _unknown(recipe: str, token: str) -> EdgepackError:
    return EdgepackError(
        "EP102",
        f"There is no recipe '{recipe}'" + (f": '{token}' is no pass" if token != recipe else ""),
        hint=did_you_mean(recipe, names()),
    )


def _checked(name: str, specs: tuple[PassSpec, ...], *, seed: int, where: str | None) -> Recipe:
    """The recipe, its passes made once to check them; converting comes last and once."""
    if not _NAME.fullmatch(name):
        raise EdgepackError(
            "EP105",
            f"'{name}' cannot be a recipe's name",
            hint="Use up to 64 letters, digits, dots, underscores and hyphens.",
            where=where,
        )
    converting = [index for index, spec in enumerate(specs) if passes.make(spec).converts]
    if not converting:
        specs = (*specs, PassSpec(name=FLOAT))
    elif converting != [len(specs) - 1]:
        raise EdgepackError(
            "EP105",
            f"Recipe '{name}' must have one converting pass, as its last",
            hint="Put float, fp16, dynamic, int8 or int16x8 at the end, once.",
            where=where,
        )
    return Recipe(name=name, passes=specs, seed=seed)


def _from_file(path: Path) -> Recipe:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EdgepackError(
            "EP102",
            "There is no recipe file of that name",
            hint=f"Built-in recipes: {', '.join(names())}.",
            where=str(path),
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise EdgepackError(
            "EP104", f"The recipe file cannot be read: {error}", hint="Correct it.", where=str(path)
        ) from error
    known = ["name", "seed", "pass"]
    for key in content:
        if key not in known:
            raise _bad_file(f"Unknown key '{key}'", did_you_mean(key, known), path)
    steps, seed = content.get("pass", []), content.get("seed", 0)
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        raise _bad_file("'pass' must be tables", "Write each pass as [[pass]].", path)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise _bad_file("'seed' must be a whole number from 0", "For example seed = 1.", path)
    specs = tuple(_step(step, path) for step in steps)
    return _checked(str(content.get("name", path.stem)), specs, seed=seed, where=str(path))


def _step(step: Mapping[str, Any], path: Path) -> PassSpec:
    name = step.get("name")
    if not isinstance(name, str):
        raise _bad_file("A [[pass]] has no name", 'For example name = "quantize.int8".', path)
    return PassSpec(name=name, params={key: step[key] for key in step if key != "name"})


def _bad_file(what: str, hint: str, path: Path) -> EdgepackError:
    return EdgepackError("EP105", what, hint=hint, where=str(path))
