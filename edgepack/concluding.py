"""What is concluded from a stored run: its comparison, and the verdict of budgets on it.

A baseline is named by a variant of the run or by another run; where a name could be either,
the variant is meant, and "run:NAME" means the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepack import config
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Budget, Comparison, Device, Package, Run, Verdict
from edgepack.registry import Registry
from edgepack.store import Store, open_store

FLOAT = "float"
_RUN = "run:"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """A run with its comparison and verdict; baseline: the run it was held against, if any."""

    run: Run
    comparison: Comparison
    verdict: Verdict
    baseline: Run | None = None


def conclude(
    run: Run,
    store: Store,
    *,
    baseline: str = FLOAT,
    budgets: Sequence[Budget] = (),
    devices: Mapping[str, Device],
) -> Conclusion:
    """Compare the run with `baseline`, and judge it.

    Errors: EP105, `baseline` is neither a variant of the run nor another run.
    """
    from edgepack.analysis import compare, gate

    variant, other = baseline_of(baseline, run.package, store)
    if other is not None and other.run_id == run.run_id:
        raise EdgepackError(
            "EP105",
            f"'{baseline}' is the run itself",
            where="--baseline",
            hint="Name another run, for example latest~1, or a variant.",
        )
    comparison = compare.compare(run, baseline=variant)
    verdict = gate.judge(run, comparison, budgets, devices, other)
    return Conclusion(run=run, comparison=comparison, verdict=verdict, baseline=other)


def conclude_stored(
    ref: str, *, baseline: str = FLOAT, budgets: Sequence[Budget] = ()
) -> Conclusion:
    """The run that `ref` names in the store, compared and judged. EP601, EP105."""
    with open_store(config.store_url()) as store:
        return conclude_loaded(store.load(ref), store, baseline=baseline, budgets=budgets)


def conclude_loaded(
    run: Run, store: Store, *, baseline: str = FLOAT, budgets: Sequence[Budget] = ()
) -> Conclusion:
    """`conclude` for a stored run, with the devices as they are registered now."""
    return conclude(run, store, baseline=baseline, budgets=budgets, devices=devices_of(run))


def devices_of(run: Run) -> dict[str, Device]:
    """The run's devices as registered now; one that is gone keeps its name and profile."""
    registered = {device.name: device for device in Registry(config.devices_file()).all()}
    gone = {m.device: Device(name=m.device, profile=m.profile) for m in run.measurements}
    return {name: registered.get(name, device) for name, device in gone.items()}


def settled(baseline: str, package: Package, store: Store) -> str:
    """The baseline so that it still means the same after more runs: a variant, or a run's id.

    Errors: EP105, it is neither a variant of the package nor a run.
    """
    variant, run = baseline_of(baseline, package, store)
    return variant if run is None else f"{_RUN}{run.run_id}"


def baseline_of(asked: str, package: Package, store: Store) -> tuple[str, Run | None]:
    """The variant that `asked` names; or the float variant, and the run that it names."""
    names = [variant.name for variant in package.variants]
    if asked == FLOAT or asked in names:
        return asked, None
    try:
        return FLOAT, store.load(asked.removeprefix(_RUN))
    except EdgepackError as error:
        if error.code != "EP601":
            raise
        raise EdgepackError(
            "EP105",
            f"'{asked}' is neither a variant of the run nor a stored run",
            where="--baseline",
            hint=f"{did_you_mean(asked, names)} Runs: edgepack runs ls.",
        ) from error
