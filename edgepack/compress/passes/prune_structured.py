"""`slimNN`: whole channels go, so that the network really is smaller and faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from edgepack.compress.facts import Fact
from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.errors import EdgepackError

if TYPE_CHECKING:
    from edgepack.compress.structured import Samples, StructuredReport

# Enough for stable means of activations and gradients; more only takes longer.
_SAMPLES = 512
_TARGETS = ("ratio", "macs", "params", "latency_ms", "widths")


@dataclass(frozen=True, kw_only=True)
class SlimParams:
    """Exactly one target: the share to take away of channels (`ratio`), `macs` or `params`,
    or `latency_ms`, measured on the device that the recipe is built for; or `widths`, the
    channels to keep by name of a group (of the first layer that makes them).

    importance: what makes a channel worth keeping: "l1" or "l2" norms, "bn" scales,
        "taylor" (gradients on the training data) or "random" (a control).
    scope: rank channels over the whole network, or take the same share of each group.
    multiple: what stays of a group is a multiple of this; by default the profile's.
    floor: the least share of a group that stays, above 0.
    steps: cuts on the way to the target, each a like part of it, with `recover` epochs of
        distillation between them; for `widths` always one.
    """

    ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    macs: Annotated[float, Field(gt=0, lt=1)] | None = None
    params: Annotated[float, Field(gt=0, lt=1)] | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    widths: Mapping[str, Annotated[int, Field(ge=1)]] | None = None
    importance: Literal["l1", "l2", "bn", "taylor", "random"] = "l2"
    scope: Literal["global", "layer"] = "global"
    multiple: Annotated[int, Field(ge=1)] = 8
    floor: Annotated[float, Field(gt=0, le=1)] = 0.125
    steps: Annotated[int, Field(ge=1, le=100)] = 1
    recover: Annotated[int, Field(ge=0, le=1000)] = 0

    def __post_init__(self) -> None:
        given = [name for name in _TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) or "none of them"
            raise ValueError(f"give one of {', '.join(_TARGETS)}, not {what}")
        if self.widths is not None and self.steps > 1:
            raise ValueError("widths are reached in one step: leave steps at 1")
        if self.recover and self.steps == 1:
            raise ValueError("recover trains between steps: give 2 steps or more")


class PruneStructured(Pass):
    """Structured pruning by a dependency graph (see `edgepack.compress.structured`)."""

    name = "prune.structured"
    summary = "takes out whole channels: fewer MACs, smaller and faster everywhere"
    tokens = (Token(word="slim", number="ratio", factor=0.01, required=True),)
    from_profile: ClassVar[Mapping[str, str]] = {"multiple": "channel_multiple"}
    Params: ClassVar[type[SlimParams]] = SlimParams

    @property
    def measures(self) -> bool:
        """See `Pass.measures`."""
        return self.params.latency_ms is not None

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        from edgepack.compress.network import KerasNetwork
        from edgepack.compress.structured import prune

        p: SlimParams = self.params
        if not isinstance(state.network, KerasNetwork):
            raise EdgepackError(
                "EP206",
                f"'{self.name}' needs a Keras model; this SavedModel has no layers to cut",
                hint="Give the .keras or .h5 file, or a recipe without slimNN.",
            )
        model, report = prune(
            state.network.model,
            ratio=p.ratio,
            macs=p.macs,
            params=p.params,
            latency=None if p.latency_ms is None else p.latency_ms / 1e3,
            latency_of=_latency_of(state, context) if self.measures else None,
            widths=p.widths,
            importance=p.importance,
            scope=p.scope,
            multiple=p.multiple,
            floor=p.floor,
            steps=p.steps,
            between=_recovery(state, context, p.recover) if p.recover else None,
            data=_samples(context),
            seed=context.seed,
        )
        framework = state.network.framework if model is state.network.model else "keras"
        network = KerasNetwork(model=model, framework=framework)
        return replace(state, network=network), _notes(report)


def _samples(context: Context) -> Samples | None:
    """Seeded training samples; None where there are none, then nothing is repaired."""
    from edgepack.compress import heldback
    from edgepack.compress.structured import Samples

    count = context.dataset.train_samples
    if not count:
        return None
    rows = np.sort(heldback.to_train(count, context.seed)[:_SAMPLES])
    labels = context.dataset.y_train
    return Samples(
        inputs=context.dataset.real("train", rows),
        labels=None if labels is None else labels[rows],
    )


def _latency_of(state: State, context: Context) -> Callable[[Any], float]:
    """Measures a candidate as the recipe would convert it, on the device in question."""
    measure = context.latency_of
    if measure is None:
        raise EdgepackError(
            "EP206",
            "a target in latency_ms needs a device to measure on",
            hint="Build with 'edgepack run … -d DEVICE', or give ratio, macs or params.",
        )

    def seconds(model: Any) -> float:
        network = type(state.network)(model=model, framework="keras")  # type: ignore[call-arg]
        return measure(replace(state, network=network))

    return seconds


def _recovery(state: State, context: Context, epochs: int) -> Callable[[Any, int], Any]:
    """Distils between two cuts, by the pass of that name with its defaults."""
    from edgepack.compress.network import KerasNetwork
    from edgepack.compress.passes.distill import Distill

    def recover(model: Any, step: int) -> Any:
        context.progress(f"recovering after cut {step}")
        network = KerasNetwork(model=model, framework="keras")
        after, _ = Distill({"epochs": epochs}).apply(replace(state, network=network), context)
        assert isinstance(after.network, KerasNetwork)
        return after.network.model

    return recover


def _notes(report: StructuredReport) -> tuple[str, ...]:
    """What was cut and what was left whole, in plain words."""
    if not report.params_before:
        return report.notes
    cut = (
        f"channels {report.channels_before} -> {report.channels_after}, "
        f"params {report.params_before:,} -> {report.params_after:,}, "
        f"MACs {report.macs_before:,} -> {report.macs_after:,}"
    )
    return (Fact(cut), *report.notes, *(Fact(kept) for kept in report.kept))
