"""From what a user asks to a study, and from a study to what is found: command line and library."""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepack import config, data, fetching, fleet, selection
from edgepack import package as packages
from edgepack.compress import sources
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Budget, Event, RuntimeSpec
from edgepack.plan import Target, check_calibration, device_data
from edgepack.searching import limits
from edgepack.searching.answers import Conclusion
from edgepack.searching.document import document
from edgepack.searching.study import Study
from edgepack.searching.values import BY_RANGES, SCHEMES, Request, Tried

Emit = Callable[[Event], None]

DEFAULT_DROP = 0.01
"""The quality that may be lost where no budget says anything: what `compare` calls harmless."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A search that has come to its end.

    written: device -> the best package's folder; unwritten: why a package is missing there.
    """

    name: str
    tried: Sequence[Tried]
    conclusion: Conclusion
    written: Mapping[str, Path]
    unwritten: EdgepackError | None = None

    def document(self) -> dict[str, Any]:
        """Schema `edgepack.search/1`."""
        return document(self.name, self.tried, self.conclusion, self.written)


def new_name() -> str:
    """The id of a new search; ids sort by time."""
    now = datetime.datetime.now(datetime.UTC)
    return f"s{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def schemes(
    names: Sequence[str], data: str | None = None, *, calibrate_on_device: bool = False
) -> tuple[str, ...]:
    """These schemes in their usual order, or all that the data allow.

    EP105 for one that is not known, and for data on devices that are not calibrated with there.
    """
    for name in names:
        if name not in SCHEMES:
            raise EdgepackError(
                "EP105",
                f"There is no scheme '{name}'",
                where="scheme",
                hint=did_you_mean(name, list(SCHEMES)),
            )
    if calibrate_on_device:
        check_calibration(data)
        return _by_ranges(names)
    if device_data(data) is not None:
        raise EdgepackError(
            "EP105",
            "a search by data that are on the devices needs their ranges",
            where="--data",
            hint="Add --calibrate-on-device: only ranges leave the devices.",
        )
    return tuple(name for name in SCHEMES if name in names) or SCHEMES


def _by_ranges(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in BY_RANGES:
            raise EdgepackError(
                "EP105",
                f"'{name}' takes more than the ranges that devices tell",
                where="scheme",
                hint=f"Choose from {', '.join(BY_RANGES)}.",
            )
    return tuple(name for name in BY_RANGES if name in names) or BY_RANGES


def budgets(file: str | None, targets: Sequence[Target], emit: Emit) -> tuple[Budget, ...]:
    """The budgets to meet: the file's, the profiles', or `DEFAULT_DROP`, which is told.

    EP106 for limits that a search cannot hold, and for devices that are not searched for.
    """
    found = selection.budgets(file, targets)
    if not found:
        message = f"no budget: at most {DEFAULT_DROP:.0%} of quality may be lost"
        emit(Event(kind="stage", stage="search", message=message))
        return (Budget(selector="*", limits={"quality_drop": DEFAULT_DROP}),)
    for budget in found:
        unheld = [name for name in budget.limits if name not in limits.HELD]
        if unheld or budget.accelerator:
            raise EdgepackError(
                "EP106",
                f"a search cannot hold '{unheld[0] if unheld else 'accelerator'}'",
                where=file,
                hint="Gate on it: it needs a run to compare with, or an accelerator asked for.",
            )
        if not any(limits.names(budget.selector, target.device) for target in targets):
            raise EdgepackError(
                "EP106",
                f"budget.{budget.selector} names none of the devices searched for",
                where=file,
                hint="Search for that device too, or leave the table out.",
            )
    return found


def checked(request: Request) -> Request:
    """The request, all of whose numbers make sense. EP105."""
    least = {
        "trials": request.trials,
        "epochs": min(request.epochs),
        "threads": min(request.threads) + 1,  # 0: the profile's
    }
    wrong = next((name for name, value in least.items() if value < 1), None)
    if request.seconds is not None and not request.seconds > 0:
        wrong = "seconds"
    if not request.max_seconds > 0:
        wrong = "max_seconds"
    if wrong is not None:
        raise EdgepackError(
            "EP105", "a search needs more than that", where=wrong, hint="Give a positive number."
        )
    return request


def begin(
    name: str, request: Request, *, output: Path | None, engine: str | None, emit: Emit
) -> Study:
    """A new study of a request that makes sense; it is stored by `perform`.

    output, engine: as `perform` will get them.

    Raises:
        EdgepackError: EP105 a runtime that no agent knows; EP105, EP603 the output; EP105, EP401
            the engine; EP110, EP201, EP202 the model; EP110, EP301 the data.
    """
    check_output(output, request.targets)
    _check_runtimes(request.runtimes)
    if engine is not None:
        with fleet.opened(engine):
            pass  # it answers; it is opened again when there is work for it
    found = settled(request, emit)
    if found.data is not None and found.device_data is None:
        data.check(fetching.data(found.data, _untold) or "")
    return Study.planned(name, found)


def _check_runtimes(names: Iterable[str]) -> None:
    for text in names:
        if text:
            config.check_runtime(RuntimeSpec(name=text.partition("==")[0]))


def settled(request: Request, emit: Emit) -> Request:
    """The request so that it means the same whenever it is resumed, wherever from.

    URLs are fetched and get the digest of what they gave; paths become absolute. Whatever is no
    model to convert is refused here, before there is a study of it: EP105 for a .tflite; EP110,
    EP201, EP202, EP203.
    """
    model = fetching.pinned_model(request.model, emit)
    _to_convert(fetching.model(model, _untold), request.model)
    return replace(
        request,
        model=model if "://" in model else str(Path(model).resolve()),
        data=fetching.pinned_data(request.data, emit),
    )


def _to_convert(path: str, named: str) -> None:
    """EP105 for a .tflite: a search takes channels out, trains and quantizes, in Keras."""
    if sources.identify(path).kind == "tflite":
        raise EdgepackError(
            "EP105",
            "a search takes a Keras model, and this .tflite is converted already",
            where=fetching.shown(named),
            hint="Give the .keras, .h5 or SavedModel that it was made from; "
            "'edgepack run' measures a .tflite as it is.",
        )


def check_output(output: Path | None, targets: Iterable[Target]) -> None:
    """EP105, EP603 where the packages of these devices could not be written under `output`."""
    if output is not None:
        for target in targets:
            packages.check_output(output / target.device.name)


def _untold(event: Event) -> None:
    """The fetch was told when the digest was found; now it is in the cache."""


def perform(study: Study, output: Path | None, *, engine: str | None = None, emit: Emit) -> Found:
    """Search, conclude, keep the answer, and write the best packages under `output`.

    A planned study is stored once its model and data are of use: before anything is measured.
    engine: URL of whose workers make the candidates ("dask://HOST:PORT"); None: this process.

    A package that could not be written is no error here but told by `Found.unwritten`: by then
    there is an answer, which is stored.

    Raises:
        EdgepackError: EP108 when no trial was finished; EP105, EP603 an output that cannot be
            written, before anything is tried; EP105, EP401, EP407 the engine; what models, data
            and devices call for.
        KeyboardInterrupt: what was tried is stored; `Study.open` goes on.
    """
    from edgepack.searching import conclusion
    from edgepack.searching.loop import Searching

    check_output(output, study.request.targets)
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(fleet.opened(engine)) if engine else None
        if engine:
            emit(Event(kind="stage", stage="search", message=f"training on workers of {engine}"))
        searching = Searching(study, emit, workers)
        tried = searching.run()
    concluded = conclusion.conclude(searching, tried, emit=emit)
    found = Found(name=study.name, tried=study.tried(), conclusion=concluded, written={})
    study.conclude(found.document())  # before packages: these may not be written, or in part
    if output is not None:
        found = _with_packages(found, conclusion.write(searching, concluded, output))
        study.conclude(found.document())
    return found


def _with_packages(found: Found, writing: Iterable[tuple[str, Path]]) -> Found:
    written, error = dict[str, Path](), None
    try:
        for device, folder in writing:
            written[device] = folder
    except EdgepackError as refused:
        resume = f"edgepack search --resume {found.name} -o DIR"
        hint = f"{refused.hint} The answer is stored; to write its packages: {resume}"
        error = EdgepackError(refused.code, refused.what, where=refused.where, hint=hint)
    return replace(found, written=written, unwritten=error)
