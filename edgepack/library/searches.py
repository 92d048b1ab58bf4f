"""Searching for the variant that meets a budget, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack import admission, config, private, selection
from edgepack.errors import EdgepackError
from edgepack.library import given
from edgepack.library.given import Data, Progress, silence
from edgepack.model import Recipe

if TYPE_CHECKING:
    from edgepack.searching.answers import Answer
    from edgepack.searching.asking import Found
    from edgepack.searching.study import Study
    from edgepack.searching.values import Tried


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found. search_id: what `resume` and `edgepack recipe show` take."""

    search_id: str
    found: Found

    @property
    def best(self) -> Mapping[str, str]:
        """Device -> the variant that meets its budget best; a device without one is left out."""
        return {one.device: one.best.variant for one in self.answers.values() if one.best}

    @property
    def answers(self) -> Mapping[str, Answer]:
        """Device -> its finalists as measured side by side (latencies in µs, sizes in bytes), the
        Pareto front, and where nothing fits the limits that bind."""
        return {one.device: one for one in self.found.conclusion.answers}

    @property
    def lost(self) -> Mapping[str, str]:
        """Device -> why it could not be measured."""
        return self.found.conclusion.lost

    @property
    def packages(self) -> Mapping[str, Path]:
        """Device -> the folder of its best package; empty without `output`."""
        return self.found.written

    @property
    def trials(self) -> Sequence[Tried]:
        """Every trial, in order: latencies in µs by device, quality on validation samples."""
        return self.found.tried

    def recipe(self, trial: int) -> Recipe:
        """The recipe that builds a trial's file again. EP102 for a trial without one."""
        from edgepack.searching.study import Study

        return Study.open(self.search_id).recipe(trial)

    def document(self) -> dict[str, Any]:
        """Everything, as `edgepack search --json` prints it (schema edgepack.search/1)."""
        return self.found.document()

    def save_html(self, file: str | Path) -> Path:
        """Write the search's history as one HTML file that opens offline, and return its path."""
        from edgepack.searching import history
        from edgepack.searching.study import Study

        path = Path(file)
        path.write_text(history.page(Study.open(self.search_id)), encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        from edgepack.report import notebook
        from edgepack.searching import history
        from edgepack.searching.study import Study

        return notebook.search(history.of(Study.open(self.search_id)))


def search(
    model: Any = None,
    *,
    data: Data | None = None,
    devices: Sequence[str] = ("local",),
    budget: str | Path | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    threads: Sequence[int] = (),
    runtimes: Sequence[str] = (),
    schemes: Sequence[str] = (),
    epochs: tuple[int, int] = (1, 5),
    cut: bool = True,
    max_seconds: float = 20.0,
    output: str | Path | None = None,
    allow_custom_objects: str | None = None,
    calibrate_on_device: bool = False,
    engine: str | None = None,
    resume: str | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the variant of a model that meets a budget, measured on the devices all along.

    Args:
        model: a path, or a Keras model; None with `resume`.
        data: as for `build`: x float32 or uint8 [samples, *the model's input without its batch
            axis], y integer classes [samples] or float targets. None: seeded random inputs;
            nothing is trained then, and quality is agreement with the source.
        devices: names, globs, "tag:NAME" or "profile:NAME".
        budget: a budget file; None: the limits of the devices' profiles, else that at most 0.01
            of quality is lost.
        trials: candidates to try at most; None: 60. seconds: time for all of it; None: no limit.
        seed: of choices, training and orders.
        threads, runtimes, schemes: what may be chosen; empty: the profile's, and all schemes.
        epochs: of distillation in the short training, and what the long one adds.
        cut: whether channels may be taken out.
        max_seconds: time for measuring the finalists on each device, in s.
        output: the folder for each device's best package, as OUTPUT/DEVICE.
        allow_custom_objects: the module with the model's custom objects.
        calibrate_on_device: the devices hold the data of data="device:/PATH.npz", tell the ranges
            of activations and judge quality; the data stay there, and nothing is trained or cut.
        engine: "dask://HOST:PORT", whose workers train candidates; devices are measured from
            here. None: this process.
        resume: a search's id, its beginning, or "latest": go on with it instead of `model`,
            with more `trials` or `seconds`; everything else is as it began.
        progress: called with every `Event`, by one thread at a time; None: silence.

    A model or data in memory are kept under the search's id in the data folder.

    Raises:
        EdgepackError: EP101, EP103, EP104 devices; EP105 values; EP106 budget; EP108 no trial
            was finished; EP105, EP401, EP407 the engine; EP201 to EP207 the model; EP209 a device
            that takes signed packages only; EP301 to EP303 data; EP601, EP602 searches; EP105,
            EP603 an output that cannot be written (the answer is stored, `resume` goes on); the
            failure of the last device that answered.
        KeyboardInterrupt: what was tried is stored; `resume` goes on.
    """
    from edgepack.searching import asking
    from edgepack.searching.study import Study
    from edgepack.searching.values import Request

    emit, place = progress or silence, None if output is None else Path(output)
    if (model is None) == (resume is None):
        raise EdgepackError(
            "EP105", "a search needs either a model or one to resume", hint="Give one of the two."
        )
    if resume is not None:
        study = Study.open(resume)
        admission.refuse_candidates(target.device for target in study.request.targets)
        asking.check_output(place, study.request.targets)
        study.extend(trials=trials, seconds=seconds)
        return _performed(study, place, engine, emit)
    targets = selection.targets(devices)
    admission.refuse_candidates(target.device for target in targets)
    name = asking.new_name()
    request = Request(
        model="",
        data=None,
        targets=tuple(targets),
        budgets=asking.budgets(None if budget is None else str(budget), targets, emit),
        trials=60 if trials is None else trials,
        seconds=seconds,
        seed=seed,
        threads=tuple(dict.fromkeys(threads)) or (0,),
        runtimes=tuple(dict.fromkeys(runtimes)) or ("",),
        schemes=asking.schemes(
            schemes,
            data if isinstance(data, str) else None,
            calibrate_on_device=calibrate_on_device,
        ),
        epochs=epochs,
        cut=cut,
        allow_custom_objects=allow_custom_objects,
        max_seconds=max_seconds,
        calibrate_on_device=calibrate_on_device,
    )
    folder = config.data_dir() / "searches" / name
    if not (given.is_named(model) and given.is_named(data)):
        private.folder(folder)
    request = replace(
        asking.checked(request), model=given.model(model, folder), data=given.data(data, folder)
    )
    if folder.exists():
        private.close(folder)
    study = asking.begin(name, request, output=place, engine=engine, emit=emit)
    return _performed(study, place, engine, emit)


def _performed(
    study: Study, output: Path | None, engine: str | None, emit: Progress
) -> SearchResult:
    from edgepack.searching import asking

    found = asking.perform(study, output, engine=engine, emit=emit)
    if found.unwritten is not None:
        raise found.unwritten
    return SearchResult(search_id=found.name, found=found)
