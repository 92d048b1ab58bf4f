"""What a compression pass is: a named step with typed parameters that makes a new state.

A pass is one small file: a frozen dataclass of parameters, a subclass of `Pass` with
`apply`, and a line under the entry points `edgepack.passes` in pyproject.toml. Its tokens
become words of the recipe grammar (see `recipes`); nothing else has to be edited.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgepack.compress.facts import Fact
from edgepack.data import Dataset
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import CalibrationSource, Event, PassReport

if TYPE_CHECKING:
    from edgepack.compress.network import Network
    from edgepack.compress.on_devices import Calibrator


@dataclass(frozen=True, kw_only=True)
class NoParams:
    """The parameters of a pass that has none."""


@dataclass(frozen=True)
class Token:
    """A word of the recipe grammar.

    word: what the user writes. number: the parameter that digits after the word set, times
    `factor` (`prune50` with number="sparsity", factor=0.01 means sparsity=0.5); None where
    no number may follow.
    """

    word: str
    number: str | None = None
    factor: float = 1.0
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class State:
    """What one pass hands to the next; a pass returns a new one and leaves its own alone.

    network: the model so far. tflite: the file's bytes once a converting pass has run.
    sparse: zeros were made on purpose, so that later passes keep them.
    clusters: the most values that a kernel (or channel) was left with on purpose; 0: none.
    quality: the metric on held-back data, for the pass's report, where the pass measured it.
    calibration: see `PassReport`.
    """

    network: Network
    tflite: bytes | None = None
    sparse: bool = False
    clusters: int = 0
    quality: float | None = None
    calibration: tuple[CalibrationSource, ...] = ()

    def retrained(
        self, network: Network, quality: float | None = None
    ) -> tuple[State, tuple[str, ...]]:
        """The state with weights that were trained freely, and what that undid.

        Zeros survive every training here; values that `cluster` made equal do not.
        """
        after = replace(self, network=network, quality=quality, clusters=0)
        if not self.clusters:
            return after, ()
        return after, (
            "Training on has parted the values that 'cluster' had made equal: put it after.",
        )


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every pass of one recipe shares.

    source: the network as it was loaded. dataset: fitted to it, or seeded random inputs.
    workdir: an empty folder for the recipe, removed afterwards.
    latency_of: converts a state as the recipe would and measures it on the device that the
        recipe is built for, in seconds; None where there is none.
    calibrator: devices with data of their own that ranges are to come from; None: `dataset`.
    data_on_devices: the user's data are on devices, and `dataset` is of random inputs.
    """

    source: Network
    dataset: Dataset
    recipe: str
    seed: int
    workdir: Path
    emit: Callable[[Event], None]
    latency_of: Callable[[State], float] | None = None
    calibrator: Calibrator | None = None
    data_on_devices: bool = False

    def progress(self, message: str, done: float | None = None, total: float | None = None) -> None:
        """Tell whoever watches how far the pass is."""
        event = Event(
            kind="progress",
            stage="build",
            message=message,
            variant=self.recipe,
            done=done,
            total=total,
        )
        self.emit(event)


class Pass(ABC):
    """One step of a recipe. Subclasses give the class variables and `apply`.

    converts: whether it makes the `.tflite`; such a pass is the last of its recipe.
    from_profile: parameter -> key of the hardware profile that sets it where the recipe
        does not.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    tokens: ClassVar[tuple[Token, ...]] = ()
    converts: ClassVar[bool] = False
    from_profile: ClassVar[Mapping[str, str]] = {}
    Params: ClassVar[type[Any]] = NoParams

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params: Any = _validated(self.name, self.Params, params)

    @property
    def measures(self) -> bool:
        """Whether it measures on a device, so that its result belongs to that device."""
        return False

    @property
    def replaces_outputs(self) -> bool:
        """Whether the network answers another question afterwards (transfer learning)."""
        return False

    def canonical(self) -> dict[str, Any]:
        """Name and all parameters with their defaults: what the build cache's key holds."""
        return {"name": self.name, "params": dataclasses.asdict(self.params)}

    def run(self, state: State, context: Context) -> tuple[State, PassReport]:
        """Apply the pass, and report its time and what the network or file is afterwards."""
        started = time.monotonic()
        after, notes = self.apply(replace(state, quality=None), context)
        if self.converts != (after.tflite is not None):
            raise AssertionError(f"{self.name} must return a file exactly when it converts")
        report = PassReport(
            name=self.name,
            params=after.network.params(),
            macs=after.network.macs(),
            sparsity=after.network.sparsity(),
            bytes=None if after.tflite is None else len(after.tflite),
            quality=after.quality,
            calibration=after.calibration,
            seconds=time.monotonic() - started,
            notes=tuple(note for note in notes if not isinstance(note, Fact)),
            facts=tuple(str(note) for note in notes if isinstance(note, Fact)),
        )
        return after, report

    @abstractmethod
    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """The state after the pass, and what a user should know about it: a plain string is
        a warning, a `Fact` is not.

        EP206 when the pass cannot be applied to this network.
        """


def _validated(name: str, schema: type[Any], params: Mapping[str, Any]) -> Any:
    """`params` as the pass's dataclass; EP105 names the parameter that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    known = [field.name for field in dataclasses.fields(schema)]
    for key in params:
        if key not in known:
            raise EdgepackError(
                "EP105",
                f"Pass '{name}' has no parameter '{key}'",
                hint=did_you_mean(key, known),
            )
    try:
        return TypeAdapter(schema).validate_python(dict(params))
    except ValidationError as error:
        first = error.errors()[0]
        parameter = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise EdgepackError(
            "EP105",
            f"Pass '{name}', parameter '{parameter}': {first['msg']}",
            hint="`edgepack recipe show` lists the parameters of a recipe's passes.",
        ) from error
