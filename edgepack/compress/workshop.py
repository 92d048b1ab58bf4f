"""Makes one variant: the recipe's passes on the loaded source, and the file checked."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from edgepack import data as datasets
from edgepack.compress import batches, checking, heldback, loading, passes, recipes, sources
from edgepack.compress.cache import key
from edgepack.compress.checkpoints import Checkpoints
from edgepack.compress.explaining import why_worse
from edgepack.compress.inspect import Summary
from edgepack.compress.network import Network, named_as
from edgepack.compress.passes.base import Context, State
from edgepack.compress.refusals import not_a_model
from edgepack.compress.site import Site
from edgepack.compress.user_code import module_digest
from edgepack.data import Dataset
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError
from edgepack.model import Agreement, Event, PassReport, PassSpec, Recipe, Signature, Variant

Emit = Callable[[Event], None]

# Samples that every file is run on before it is accepted: so many, and fewer of a net so
# large that a core would take minutes over them (some 1e10 multiply-accumulates a second).
CHECK_SAMPLES = 512
_CHECK_FLOOR = 32
_CHECK_MACS = 2e11
# Below these a variant is kept, with a warning: it may be what the user wants to see.
_LOW_TOP1 = 0.9
_LOW_SNR_DB = 10.0


def fitted(dataset: Dataset | None, signature: Signature, *, labels: bool = True) -> Dataset:
    """The user's data under the model's input names, or seeded random inputs."""
    if dataset is None:
        return datasets.random_inputs(signature)
    return datasets.fit(dataset, signature, labels=labels)


def check_samples(macs: int | None) -> int:
    """Samples to check a file on whose inference takes so many multiply-accumulates."""
    affordable = int(_CHECK_MACS / macs) if macs else CHECK_SAMPLES
    return max(_CHECK_FLOOR, min(CHECK_SAMPLES, affordable))


def replaces_outputs(recipe: Recipe) -> bool:
    """Whether a recipe's variant answers another question than the source (a new head)."""
    return any(passes.make(spec).replaces_outputs for spec in recipe.passes)


def _leading_to(recipe: Recipe, count: int) -> tuple[PassSpec, ...]:
    """All that the network after the first `count` passes hangs on.

    A pass that measures does so through the converting one: another file, another cut.
    """
    first = recipe.passes[:count]
    if any(passes.make(spec).measures for spec in first):
        return (*first, recipe.passes[-1])
    return first


def event(kind: str, recipe: Recipe, message: str) -> Event:
    """Something to tell about the building of a recipe."""
    return Event(kind=kind, stage="build", message=message, variant=recipe.name)


class Workshop:
    """The loaded source and what all recipes share; opened at the first cache miss."""

    def __init__(
        self,
        source: sources.Source,
        given: Dataset | None,
        allow: str | None,
        stages: Path,
        site: Site,
        emit: Emit,
        *,
        labels: bool = True,
    ) -> None:
        self.source = source
        self.given = given
        self._allow = allow
        self.site = site
        self._labels = labels
        self._emit = emit
        self.checkpoints = Checkpoints(stages, self._load_stage)

    def key(self, recipe: Recipe) -> str:
        """The recipe's name in the cache."""
        source = f"{self.source.sha256}{self._allowed_code}"
        return key(source, recipe, self._data_digest, self.site.device)

    @cached_property
    def _data_digest(self) -> str:
        """What stands for the data, and for what is said of them, in the cache's keys."""
        if self.given is not None:
            return self.given.digest
        if self.site.calibrator is not None:
            return f"on devices: {self.site.calibrator.data_digest}"
        return "random, data on devices" if self.site.has_data else "random"

    def stages(self, recipe: Recipe) -> list[str]:
        """The names of the recipe's checkpoints: one after each pass but the last."""
        return [
            self.key(replace(recipe, passes=_leading_to(recipe, count)))
            for count in range(1, len(recipe.passes))
        ]

    @cached_property
    def _allowed_code(self) -> str:
        """A digest of the code that the model may use: other code, other variants."""
        try:
            return module_digest(self._allow) if self._allow else ""
        except ImportError:
            return ""  # loading says so

    def _load_stage(self, path: Path) -> Network:
        return loading.load(sources.identify(str(path)), self._allow)

    @cached_property
    def network(self) -> Network:
        """The source network, which takes any number of samples at a time."""
        self._emit(Event(kind="progress", stage="build", message=f"loading {self.source.path}"))
        network = loading.load(self.source, self._allow)
        with loading.allowed(network, self._allow):
            return batches.freed(network, str(self.source.path))

    @cached_property
    def dataset(self) -> Dataset:
        """The user's data fitted to the network, or random inputs."""
        network = self.network
        signature = Signature(inputs=network.inputs, outputs=network.outputs)
        return fitted(self.given, signature, labels=self._labels)

    @cached_property
    def check_inputs(self) -> dict[str, Array]:
        """The real-valued inputs that every file is run on."""
        return self.dataset.real("test", slice(0, check_samples(self.network.macs())))

    @cached_property
    def reference(self) -> dict[str, Array]:
        """The source's outputs on `check_inputs`."""
        return self.network.predict(self.check_inputs)

    def make(self, recipe: Recipe) -> tuple[Variant, bytes]:
        """Build one recipe's variant and check it."""
        with tempfile.TemporaryDirectory(prefix="edgepack-build-") as folder:
            if not recipe.passes:
                return self._as_is(recipe, Path(folder))
            return self._converted(recipe, Path(folder))

    def _as_is(self, recipe: Recipe, workdir: Path) -> tuple[Variant, bytes]:
        """The source file itself: read first, then run once its inputs are known."""
        path = self.source.path
        try:
            summary = checking.run(path, None, workdir).summary
        except EdgepackError as error:
            raise not_a_model(error.what, str(path)) from error
        rows = slice(0, check_samples(summary.macs))
        inputs = fitted(self.given, summary.signature).real("test", rows)
        checking.run(path, inputs, workdir)
        content = path.read_bytes()
        variant = _variant(recipe, content, summary, None, ())
        if summary.quantization != "float":
            note = f"The file is quantized already ({summary.quantization}) and taken as it is."
            variant = replace(variant, warnings=(*variant.warnings, note))
        return variant, content

    def _converted(self, recipe: Recipe, workdir: Path) -> tuple[Variant, bytes]:
        context = Context(
            source=self.network,
            dataset=self.dataset,
            recipe=recipe.name,
            seed=recipe.seed,
            workdir=workdir,
            emit=self._emit,
            latency_of=self._latency_of(recipe, workdir) if self.site.measure else None,
            calibrator=self.site.calibrator,
            data_on_devices=self.site.has_data,
        )
        with loading.allowed(self.network, self._allow):
            state, reports = self._passed(recipe, context)
        content = state.tflite
        if content is None:
            raise AssertionError(f"recipe '{recipe.name}' has no converting pass")
        context.progress("checking the file", len(recipe.passes), len(recipe.passes))
        path = workdir / "model.tflite"
        path.write_bytes(content)
        checked = checking.run(path, self.check_inputs, workdir)
        score = checking.quality(checked.outputs, self.dataset.y_test, self.dataset.task)
        reports[-1] = replace(
            reports[-1],
            params=checked.summary.params,
            macs=checked.summary.macs,
            sparsity=checked.summary.sparsity,
            quality=score,
        )
        if replaces_outputs(recipe):
            return self._renewed(recipe, content, checked, state, tuple(reports)), content
        agreement = checking.agreement(self.reference, checked.outputs)
        if [spec.name for spec in recipe.passes] == [recipes.FLOAT]:
            _refuse_wrong_float(agreement, "source")
        if self.site.has_data:
            # Calibrated for data that are elsewhere, it need not agree on random inputs.
            return _variant(recipe, content, checked.summary, None, tuple(reports)), content
        variant = _variant(recipe, content, checked.summary, agreement, tuple(reports))
        causes = why_worse(state, context, agreement, self._drop(score))
        return replace(variant, warnings=(*variant.warnings, *causes)), content

    def _renewed(
        self,
        recipe: Recipe,
        content: bytes,
        checked: checking.Checked,
        state: State,
        lineage: tuple[PassReport, ...],
    ) -> Variant:
        """A variant whose outputs mean something else than the source's, with which there is
        nothing to agree on: the file is held against the network that was trained."""
        trained = state.network.predict(self.check_inputs)
        agreement = checking.agreement(trained, checked.outputs)
        if recipe.passes[-1].name == recipes.FLOAT:
            _refuse_wrong_float(agreement, "trained network")
        variant = _variant(recipe, content, checked.summary, None, lineage)
        if self.site.has_data:  # calibrated for data that are elsewhere
            return variant
        found = _disagreement(agreement, "trained network")
        return replace(variant, warnings=(*variant.warnings, *found))

    def _passed(self, recipe: Recipe, context: Context) -> tuple[State, list[PassReport]]:
        """All passes run, going on from the last one that an earlier build finished."""
        names = self.stages(recipe)
        state, reports, first = State(network=self.network), list[PassReport](), 0
        found = self.checkpoints.last(names)
        if found is not None:
            index, state, reports = found
            state = replace(state, network=named_as(state.network, self.network))
            first = index + 1
            done = ", ".join(spec.name for spec in recipe.passes[:first])
            self._emit(event("log", recipe, f"already done: {done}"))
        for index in range(first, len(recipe.passes)):
            spec = recipe.passes[index]
            context.progress(spec.name, index, len(recipe.passes))
            state, report = passes.make(spec).run(state, context)
            state = replace(state, network=named_as(state.network, self.network))
            if report.quality is None and state.tflite is None:
                score = heldback.quality(state.network, context.dataset, recipe.seed)
                report = replace(report, quality=score)
            reports.append(report)
            for fact in report.facts:
                self._emit(event("fact", recipe, f"{spec.name}: {fact}"))
            if index < len(names) and not self.checkpoints.save(names[index], state, reports):
                message = f"{spec.name}: its result cannot be kept for a later build"
                self._emit(event("log", recipe, message))
        return state, reports

    def _latency_of(self, recipe: Recipe, workdir: Path) -> Callable[[State], float]:
        """Converts a state by the recipe's last pass and measures the file on the device."""
        measure = self.site.measure
        assert measure is not None

        def latency_of(state: State) -> float:
            context = Context(
                source=self.network,
                dataset=self.dataset,
                recipe=recipe.name,
                seed=recipe.seed,
                workdir=workdir,
                emit=self._emit,
                calibrator=self.site.calibrator,
            )
            converted, _ = passes.make(recipe.passes[-1]).run(state, context)
            assert converted.tflite is not None
            return measure(converted.tflite)

        return latency_of

    def _drop(self, score: float | None) -> float | None:
        """Accuracy lost against the source, for classifiers with labels."""
        if score is None or self.dataset.task != "classification":
            return None
        source = checking.quality(self.reference, self.dataset.y_test, self.dataset.task)
        return None if source is None else source - score


def _refuse_wrong_float(agreement: Agreement, owner: str) -> None:
    """Every comparison hangs on the float file: it must compute what `owner` does."""
    if agreement.snr_db is not None and agreement.snr_db < checking.FLOAT_SNR_DB:
        raise EdgepackError(
            "EP205",
            f"The converted float model does not compute what the {owner} computes "
            f"(signal to noise {agreement.snr_db:.1f} dB)",
            hint="The converter mistook a layer; look for random or stateful layers.",
        )


def _variant(
    recipe: Recipe,
    content: bytes,
    summary: Summary,
    agreement: Agreement | None,
    lineage: tuple[PassReport, ...],
) -> Variant:
    return Variant(
        name=recipe.name,
        recipe=recipe,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, compresslevel=9, mtime=0)),
        signature=summary.signature,
        params=summary.params,
        macs=summary.macs,
        sparsity=summary.sparsity,
        agreement=agreement,
        lineage=lineage,
        warnings=_warnings(agreement, lineage),
    )


def _warnings(agreement: Agreement | None, lineage: Sequence[PassReport]) -> tuple[str, ...]:
    """What a user should read: the passes' notes, and a poor agreement with the source."""
    found = [note for report in lineage for note in report.notes]
    return (*found, *(_disagreement(agreement, "source model") if agreement else ()))


def _disagreement(agreement: Agreement, owner: str) -> tuple[str, ...]:
    """What to say of a poor agreement with `owner`'s outputs."""
    top1, snr = agreement.top1_agreement, agreement.snr_db
    if top1 is not None and top1 < _LOW_TOP1:
        return (f"Only {top1:.1%} of samples get the {owner}'s class.",)
    if top1 is None and snr is not None and snr < _LOW_SNR_DB:
        return (f"Outputs are far from the {owner}'s: {snr:.1f} dB.",)
    return ()
