"""What a search is asked, and what it knows of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgepack.model import Budget, Recipe
from edgepack.plan import Target, device_data

SCHEMES = (
    "float", "dynamic", "int8", "int8-first", "int8-mse", "int16x8", "mixed1", "mixed2", "mixed4",
)  # fmt: skip
"""How weights and activations are stored. "mixedN" is int8 but for the N operators that int8
harms most, "int8-first" but for the first one with weights: kernels of int8 take few input
channels badly, and an image has three, or one. "int8-mse" takes the ranges with the least squared
error."""

BY_RANGES = tuple(name for name in SCHEMES if name != "int8-mse")
"""Those for which the lowest and highest value of each activation are enough."""

# XNNPACK takes no int16 activations: the plain kernels are some forty times slower.
_SLOW, _SLOW_SHARE = "int16x8", 8


def judged_on(scheme: str, samples: int) -> int:
    """Of so many validation samples, those by which this host judges a scheme."""
    return max(1, samples // _SLOW_SHARE) if scheme == _SLOW else samples


@dataclass(frozen=True, kw_only=True)
class Request:
    """A search as the user asked for it; stored, so that `--resume` needs nothing else.

    budgets: limits; a budget's `variant` plays no part. trials: candidates to try at most.
    seconds: time for all of it, None for no limit. threads, runtimes: what may be chosen
    (0 and "" stand for the profile's). schemes: of `SCHEMES`. epochs: of distillation in the
    short and in the long training. cut: whether channels may be taken out. calibrate_on_device:
    `data` are on the devices, which tell ranges and judge quality.
    """

    model: str
    data: str | None
    targets: tuple[Target, ...]
    budgets: tuple[Budget, ...]
    trials: int = 60
    seconds: float | None = None
    seed: int = 0
    threads: tuple[int, ...] = (0,)
    runtimes: tuple[str, ...] = ("",)
    schemes: tuple[str, ...] = SCHEMES
    epochs: tuple[int, int] = (1, 5)
    cut: bool = True
    allow_custom_objects: str | None = None
    max_seconds: float = 20.0
    calibrate_on_device: bool = False

    @property
    def device_data(self) -> str | None:
        """The path of the data on the devices; None for data of this host, or without any."""
        return device_data(self.data)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One point of the space.

    percent: how much stays of the time that cuts could save, by the tables: 100 cuts nothing,
    0 as much as may be cut. lean: where the cut falls: 2**lean times as dear at the first
    layers as in the middle, and at the last layers as cheap. epochs: of distillation, 0 for none.
    """

    percent: int = 100
    lean: float = 0.0
    importance: str = "l2"
    epochs: int = 0
    scheme: str = "float"
    threads: int = 0
    runtime: str = ""

    @property
    def judged(self) -> bool:
        """Whether its quality is that of something to ship: not of a cut before any training."""
        return self.percent >= 100 or self.epochs > 0


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How quality is judged while searching: the metric ("agreement" without labels), the
    source's value of it, and the number of samples."""

    metric: str
    source: float
    samples: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A choice made into a file. loss: quality lost against the source on the validation
    samples, in the metric's unit (1 - agreement without labels)."""

    number: int
    choice: Choice
    recipe: Recipe
    content: bytes
    sha256: str
    quality: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A finished trial, as it is stored.

    latency_us: by device, p50; speedup: by device, against the source's float file in the
    same job; over: limit ("device.selector.limit") -> how far beyond it, as a share of it
    (0 or less: met). stage: see `stages`. error: why it was not measured. at_s: seconds of
    searching, those of earlier processes included, when it was finished.
    """

    number: int
    stage: str
    bracket: int
    choice: Choice
    recipe: Recipe | None = None
    sha256: str = ""
    bytes: int = 0
    quality: float = 0.0
    loss: float = 0.0
    latency_us: Mapping[str, float] = field(default_factory=dict)
    speedup: Mapping[str, float] = field(default_factory=dict)
    over: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    at_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was built and measured."""
        return not self.error and bool(self.latency_us)

    @property
    def excess(self) -> float:
        """The sum of what it is beyond its limits; 0 where it meets all of them."""
        return sum(max(0.0, share) for share in self.over.values())
