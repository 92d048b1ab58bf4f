"""Builds variants: source model + recipes + data -> checked `.tflite` files, cached.

    build = engine.build("model.keras", [recipes.parse("int8")], dataset, cache=folder, ...)

The float reference is always built, first. TensorFlow is imported only when something is
missing from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepack.compress import recipes, sources
from edgepack.compress.cache import Cache, tools
from edgepack.compress.site import Site
from edgepack.compress.workshop import Emit, Workshop, event, fitted, replaces_outputs
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.model import Event, Recipe, Signature, Variant


@dataclass(frozen=True, kw_only=True)
class Build:
    """What `build` gives: variants in order, and where their files lie.

    files: sha256 -> path. dataset: fitted to the model, or seeded random inputs.
    tools: name -> version of what took part.
    """

    source_name: str
    source_sha256: str
    signature: Signature
    variants: tuple[Variant, ...]
    files: Mapping[str, Path]
    dataset: Dataset
    tools: Mapping[str, str]


def build(
    model: str,
    wanted: Sequence[Recipe],
    dataset: Dataset | None,
    *,
    cache: Path,
    allow_custom_objects: str | None = None,
    arch: str | None = None,
    site: Site | None = None,
    emit: Emit,
) -> Build:
    """Build (or find) every recipe's variant of the model.

    arch: "module:function" that makes the network, where `model` is a file of weights only.
    Errors: EP201-EP203 the model, EP204-EP207 a recipe, EP303 data that does not fit.
    """
    source = sources.identify(model, arch)
    site = site or Site()
    chosen = [recipes.for_hardware(one, site.profile) for one in _chosen(source, wanted)]
    labels = not any(map(replaces_outputs, chosen))
    builder = Builder(
        source,
        dataset,
        cache=cache,
        allow_custom_objects=allow_custom_objects,
        site=site,
        labels=labels,
        emit=emit,
    )
    for note in () if dataset is None else dataset.notes:
        emit(Event(kind="log", stage="build", message=note))
    variants: list[Variant] = []
    files: dict[str, Path] = {}
    for recipe in chosen:
        variant, path = builder.obtain(recipe)
        variants.append(variant)
        files[variant.sha256] = path
    signature = variants[0].signature
    return Build(
        source_name=source.path.name,
        source_sha256=source.sha256,
        signature=signature,
        variants=tuple(variants),
        files=files,
        dataset=fitted(dataset, signature, labels=labels),
        tools=tools(),
    )


def _chosen(source: sources.Source, wanted: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The recipes to build, float first and each name once; a .tflite is taken as it is."""
    if source.kind == "tflite":
        others = [recipe.name for recipe in wanted if recipe.passes]
        if others:
            raise EdgepackError(
                "EP206",
                f"A .tflite file is already converted; '{others[0]}' cannot be applied to it",
                hint="Give no recipe to take it as it is, or give the Keras model.",
                where=str(source.path),
            )
        return (Recipe(name=recipes.AS_IS),)
    unique = {"float": recipes.parse("float")}
    for recipe in wanted:
        if not recipe.passes:
            raise EdgepackError(
                "EP206",
                f"Recipe '{recipe.name}' takes a .tflite as it is; this is a model to convert",
                hint="Use 'float' for an unchanged model.",
                where=str(source.path),
            )
        if unique.setdefault(recipe.name, recipe) != recipe:
            raise EdgepackError(
                "EP105",
                f"Two different recipes are named '{recipe.name}'",
                hint="Give one of them another name.",
            )
    return tuple(unique.values())


class Builder:
    """One source and dataset, held open: builds recipe after recipe, or finds it in the cache."""

    def __init__(
        self,
        source: sources.Source,
        dataset: Dataset | None,
        *,
        cache: Path,
        allow_custom_objects: str | None = None,
        site: Site | None = None,
        labels: bool = True,
        emit: Emit,
    ) -> None:
        stages = cache.with_name("stages")
        self.workshop = Workshop(
            source, dataset, allow_custom_objects, stages, site or Site(), emit, labels=labels
        )
        self._store = Cache(cache)
        self._emit = emit

    def obtain(self, recipe: Recipe) -> tuple[Variant, Path]:
        """The variant and its file, built under the entry's lock where it is not there."""
        name = self.workshop.key(recipe)
        with self._store.lock(name):
            found = self._store.get(name, recipe)
            if found is None:
                self._emit(event("stage", recipe, f"building {recipe.name}"))
                variant, content = self.workshop.make(recipe)
                found = variant, self._store.put(name, variant, content)
            else:
                self._emit(event("stage", recipe, f"{recipe.name} is in the cache"))
        for warning in found[0].warnings:
            self._emit(event("warning", recipe, warning))
        return found
