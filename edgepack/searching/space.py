"""The space of a search: its parameters as Optuna asks for them, and a choice as a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepack.model import PassSpec, Recipe
from edgepack.searching.values import SCHEMES, Choice, Request

if TYPE_CHECKING:
    from optuna.trial import Trial

LEAST_PERCENT, STEP_PERCENT = 10, 5
LEANS = (-1.0, 0.0, 1.0)
_FLOAT = PassSpec(name="convert.float")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be chosen. importances is empty for a model that cannot be cut; epochs holds
    0 alone where nothing can be trained."""

    schemes: tuple[str, ...]
    threads: tuple[int, ...]
    runtimes: tuple[str, ...]
    importances: tuple[str, ...]
    epochs: tuple[int, ...]

    @property
    def cuts(self) -> bool:
        """Whether channels may be taken out."""
        return bool(self.importances)

    @property
    def size(self) -> int:
        """How many different choices there are before any training."""
        flat = len(self.schemes) * len(self.threads) * len(self.runtimes)
        if not self.cuts:
            return flat
        shares = (100 - LEAST_PERCENT) // STEP_PERCENT
        return flat * (1 + shares * len(LEANS) * len(self.importances))


def of(request: Request, *, cuts: bool, trains: bool, labels: bool) -> Space:
    """The space that a request and its model and data allow."""
    kinds = ("l2", "taylor") if labels and trains else ("l2", "l1")
    short, long = request.epochs
    return Space(
        schemes=tuple(name for name in SCHEMES if name in request.schemes),
        threads=request.threads,
        runtimes=request.runtimes,
        importances=kinds if cuts and request.cut else (),
        epochs=(0, short, short + long) if cuts and request.cut and trains else (0,),
    )


def suggest(trial: Trial, space: Space) -> Choice:
    """The trial's choice: what was enqueued with it, and the rest from the sampler."""
    percent, lean, importance = 100, 0.0, "l2"
    if space.cuts:
        percent = trial.suggest_int("percent", LEAST_PERCENT, 100, step=STEP_PERCENT)
        lean = trial.suggest_float("lean", LEANS[0], LEANS[-1], step=LEANS[1] - LEANS[0])
        importance = trial.suggest_categorical("importance", space.importances)
    return Choice(
        percent=percent,
        lean=lean,
        importance=importance,
        epochs=trial.suggest_categorical("epochs", space.epochs),
        scheme=trial.suggest_categorical("scheme", space.schemes),
        threads=trial.suggest_categorical("threads", space.threads),
        runtime=trial.suggest_categorical("runtime", space.runtimes),
    )


def params(choice: Choice, space: Space) -> dict[str, Any]:
    """The choice as parameters to enqueue."""
    values = {name: getattr(choice, name) for name in ("epochs", "scheme", "threads", "runtime")}
    if space.cuts:
        values |= {name: getattr(choice, name) for name in ("percent", "lean", "importance")}
    return values


def network_passes(choice: Choice, widths: Mapping[str, int], short: int) -> tuple[PassSpec, ...]:
    """The passes that change the network: a cut to explicit widths, then distillation.

    A long training goes on from the short one, so that the engine finds the latter done.
    """
    if not widths:
        return ()
    cut = {"widths": dict(widths), "importance": choice.importance}
    steps = [PassSpec(name="prune.structured", params=cut)]
    parts = [choice.epochs] if choice.epochs <= short else [short, choice.epochs - short]
    for epochs in parts:
        if epochs:
            params = {"epochs": epochs, "features": ["auto"], "patience": epochs}
            steps.append(PassSpec(name="distill", params=params))
    return tuple(steps)


def recipe(name: str, passes: tuple[PassSpec, ...], last: PassSpec, seed: int) -> Recipe:
    """The recipe of a trial: everything explicit, so that a file of it builds the same."""
    return Recipe(name=name, passes=(*passes, last), seed=seed)


def converting(scheme: str, ranking: tuple[str, ...] = ()) -> PassSpec:
    """The converting pass of a scheme. ranking: the operators that a scheme keeps in float some
    of, the first to be kept first."""
    if scheme == "float":
        return _FLOAT
    values: dict[str, Any] = {"activations": "int8"}
    if scheme == "dynamic":
        values = {"activations": "float"}
    elif scheme == "int16x8":
        values = {"activations": "int16"}
    elif scheme == "int8-mse":
        values["calibration"] = "mse"
    elif scheme == "int8-first":
        values["keep"] = list(ranking[:1])
    elif scheme.startswith("mixed"):
        values["keep"] = list(ranking[: int(scheme.removeprefix("mixed"))])
    return PassSpec(name="quantize.rules", params=values)
