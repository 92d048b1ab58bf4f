"""Building, measuring and comparing, for scripts and notebooks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack import package as packages
from edgepack import pipeline, plan, selection
from edgepack.concluding import FLOAT, conclude_stored
from edgepack.library import given
from edgepack.library.given import Data, Progress, silence
from edgepack.model import Comparison, JobSettings, Package, Run, Verdict


@dataclass(frozen=True, kw_only=True)
class Built:
    """A package of variants on disk. path: its folder, with one `.tflite` a variant."""

    package: Package
    path: Path

    def tflite(self, variant: str) -> Path:
        """The variant's file. KeyError when the package has none of that name."""
        return self.path / packages.variant_file(self.package.variant(variant).name)

    def _repr_html_(self) -> str:
        from edgepack.report import notebook

        return notebook.package(self.package)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A measured run with what follows from it.

    comparison: speed-ups with 95% confidence intervals, the Pareto front, and what to ship, by
    device. verdict: of the budgets. baseline: the run it was compared with, if any.
    """

    run: Run
    comparison: Comparison
    verdict: Verdict
    baseline: Run | None = None

    @property
    def recommended(self) -> Mapping[str, str]:
        """Device -> the variant to ship on it; a device without one is left out."""
        return self.comparison.recommended

    def document(self) -> dict[str, Any]:
        """Everything, as `edgepack run --json` prints it (schema edgepack.run/1): latencies in
        µs, loading in ms, sizes in bytes."""
        from edgepack.report.pairs import run_against

        return run_against(self.run, self.comparison, self.verdict, self.baseline)

    def save_html(self, file: str | Path) -> Path:
        """Write the report as one HTML file that opens offline, and return its path."""
        from edgepack.report import html

        path = Path(file)
        path.write_text(
            html.render(self.run, self.comparison, self.verdict, self.baseline), encoding="utf-8"
        )
        return path

    def _repr_html_(self) -> str:
        from edgepack.report import notebook

        return notebook.run(self.run, self.comparison, self.verdict)


def build(
    model: Any,
    *,
    data: Data | None = None,
    recipes: Sequence[str] = (),
    output: str | Path | None = None,
    arch: str | None = None,
    allow_custom_objects: str | None = None,
    calibrate_on: Sequence[str] = (),
    progress: Progress | None = None,
) -> Built:
    """Build TFLite variants of a model into a package; a build done before comes from the cache.

    Args:
        model: a path (`.keras`, `.h5`, SavedModel, `.tflite`), or a Keras model, which is saved
            to a temporary file first.
        data: what `--data` takes, or arrays by the names of an `.npz`: `x_train`, `y_train`,
            `x_test`, `y_test`. x: float32 or uint8, [samples, *the model's input without its
            batch axis], in the units that the model was trained on; several inputs as
            `x_test:NAME`. y: integer classes [samples], or float targets. None: seeded random
            inputs; quality is then agreement with the source model.
        recipes: names or TOML files; the float variant is always built. A `.tflite` is taken as
            it is.
        output: the package's folder, written or replaced whole; None: the data folder, by digest.
        arch: "module:function" that makes the network whose weights `model` holds.
        allow_custom_objects: the module with the model's custom objects.
        calibrate_on: devices (names, globs, "tag:NAME", "profile:NAME") that hold the data of
            data="device:/PATH.npz" and tell the ranges of activations; the data stay there.
        progress: called with every `Event`; None: silence.

    Raises:
        EdgepackError: EP102, EP105 recipes; EP201 to EP207 the model or a pass; EP301 to EP303
            data; EP4xx, EP5xx a device of `calibrate_on`.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        wanted = plan.make(
            model=given.model(model, Path(scratch)),
            data=given.data(data, Path(scratch)),
            recipes=selection.recipes(recipes),
            targets=selection.targets(calibrate_on) if calibrate_on else (),
            settings=JobSettings(),
            allow_custom_objects=allow_custom_objects,
            arch=arch,
            calibrate_on_device=bool(calibrate_on),
        )
        target = None if output is None else Path(output)
        package, path = pipeline.build(wanted, target, emit=progress or silence)
    return Built(package=package, path=path)


def bench(
    package: Built | str | Path,
    *,
    devices: Sequence[str] = ("local",),
    baseline: str = FLOAT,
    budget: str | Path | None = None,
    settings: JobSettings | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    require_signed: bool = False,
    allowed_signers: str | Path | None = None,
    allow_rollback: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Measure a package on devices, all at once, store the run, compare and judge it.

    Args:
        package: what `build` gave, or the path of a package's folder or bundle.
        devices: names, globs, "tag:NAME" or "profile:NAME".
        baseline: the variant, or the stored run, to compare with.
        budget: a budget file; None: the limits of the devices' profiles.
        settings: how to measure (times in s); None: until p50 is known to ±1% with 95%
            confidence, at most 20 s of rounds a device.
        tags, note: kept with the run.
        require_signed: measure only a package signed by one of `allowed_signers` (a file in
            OpenSSH's format; None: each device's own), which the devices verify too.
        allow_rollback: take one older than the newest accepted.
        progress: called with every `Event`, by one thread at a time; None: silence.

    Raises:
        EdgepackError: EP101, EP103, EP104 devices; EP105 baseline; EP106 budget; EP208 to EP210
            the package. A device that fails does not raise: its measurements have the reason.
        KeyboardInterrupt: after the run was stored with what was measured; `edgepack run
            --resume` measures the rest.
    """
    targets = selection.targets(devices)
    wanted = plan.make(
        model=str(package.path if isinstance(package, Built) else package),
        data=None,
        recipes=(),
        targets=targets,
        settings=settings or JobSettings(),
        budgets=selection.budgets(None if budget is None else str(budget), targets),
        baseline=baseline,
        tags=tags,
        note=note,
        require_signed=require_signed,
        allowed_signers=None if allowed_signers is None else str(allowed_signers),
        allow_rollback=allow_rollback,
    )
    with _opened(package) as (opened, directory):
        done = pipeline.bench(opened, directory, wanted, emit=progress or silence)
    if done.interrupted:
        raise KeyboardInterrupt
    return Result(
        run=done.run,
        comparison=done.comparison,
        verdict=done.verdict,
        baseline=done.baseline,
    )


def compare(
    run: str = "latest", *, baseline: str = FLOAT, budget: str | Path | None = None
) -> Result:
    """Compare a stored run with one of its variants or with another run, and judge it.

    Args:
        run: an id or its unique beginning, a tag, "latest", "latest~1", "branch:NAME".
        baseline: a variant's name, or another run.
        budget: a budget file; None: no limits.

    Raises:
        EdgepackError: EP601 no such run; EP105 no such baseline; EP106 the budget file.
    """
    limits = () if budget is None else selection.budgets(str(budget))
    found = conclude_stored(run, baseline=baseline, budgets=limits)
    return Result(
        run=found.run,
        comparison=found.comparison,
        verdict=found.verdict,
        baseline=found.baseline,
    )


@contextmanager
def _opened(package: Built | str | Path) -> Iterator[tuple[Package, Path]]:
    if isinstance(package, Built):
        yield package.package, package.path
        return
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        yield packages.opened(Path(package), Path(scratch))
