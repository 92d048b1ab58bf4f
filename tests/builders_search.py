"""Searches as the storage holds them, made without a device or TensorFlow."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import optuna

from edgepack import codec
from edgepack.model import Budget, Device, PassSpec, Profile, Recipe
from edgepack.plan import Target
from edgepack.searching.answers import Answer, Conclusion, Final
from edgepack.searching.conclusion import answer
from edgepack.searching.document import document
from edgepack.searching.gauge import Setting
from edgepack.searching.study import Study, objectives
from edgepack.searching.values import SCHEMES, Choice, Judge, Request, Tried

SOURCE_US, SOURCE_QUALITY = {"pi4": 4200.0, "local": 240.0}, 0.914
_SPEEDUP = {"float": 1.0, "dynamic": 1.3, "int16x8": 0.1}


def target(name: str) -> Target:
    profile = Profile(name="raspberry-pi-4", title="", arch=("aarch64",), runtimes=())
    return Target(device=Device(name=name, profile="raspberry-pi-4"), profile=profile)


def tried(number: int, stage: str, choice: Choice, limits: Mapping[str, float]) -> Tried:
    """A trial whose speed and quality follow its choice, with some luck."""
    luck = random.Random(number)
    speedup = _SPEEDUP.get(choice.scheme, 2.6) * (100 / choice.percent) ** 0.7
    cut = (100 - choice.percent) / 100
    loss = 0.06 * cut**2 / (1 + choice.epochs) if choice.epochs else 0.9 * cut
    loss += luck.gauss(0.001, 0.002)
    size = int(380_000 / (1 if choice.scheme == "float" else 3.7) * choice.percent / 100)
    latency = {name: us / speedup for name, us in SOURCE_US.items()}
    values = {"latency_p50_ms": latency["pi4"] / 1e3, "bytes": size}
    if choice.percent >= 100 or choice.epochs:
        values["quality_drop"] = loss
    return Tried(
        number=number,
        stage=stage,
        bracket=0,
        choice=choice,
        recipe=Recipe(name=f"t{number:03d}", passes=(PassSpec(name="convert.float"),)),
        sha256=f"{number:064x}",
        bytes=size,
        quality=SOURCE_QUALITY - loss,
        loss=loss,
        latency_us=latency,
        speedup=dict.fromkeys(SOURCE_US, speedup),
        over={
            f"pi4.*.{name}": value / limits[name] - 1
            for name, value in values.items()
            if name in limits
        },
        at_s=20.0 * (number + 1) ** 1.1,
    )


def trials(limits: Mapping[str, float]) -> list[Tried]:
    """The source in every scheme, then two brackets' worth of cuts and trainings."""
    choices = [("source", Choice(scheme=scheme)) for scheme in SCHEMES]
    for percent in range(10, 100, 5):
        choices.append(("shot", Choice(percent=percent, scheme="int8", lean=1.0)))
    for stage, epochs in (("short", 1), ("long", 6)):
        for percent in (80, 60, 70, 40, 50, 30):
            choices.append((stage, Choice(percent=percent, scheme="int8", epochs=epochs)))
    choices += [("scheme", Choice(percent=p, scheme="int8-mse", epochs=6)) for p in (30, 50)]
    made = [tried(number, *each, limits) for number, each in enumerate(choices)]
    failed = Tried(
        number=len(made), stage="scheme", bracket=0, choice=Choice(), error="EP205: <b>broken</b>"
    )
    return [*made, failed]


def final(one: Tried, device: str, limits: Mapping[str, float]) -> Final:
    """A finalist as good as its trial was."""
    values = {"latency_p50_ms": one.latency_us[device] / 1e3, "bytes": float(one.bytes)}
    values["quality_drop"] = one.loss
    held = {f"{device}.*.{name}": values[name] for name in limits}
    return Final(
        trial=one.number,
        variant=f"t{one.number:03d}",
        run_id="20261122T101500-abc123",
        device=device,
        latency_us=one.latency_us[device],
        speedup=one.speedup[device],
        quality=one.quality,
        quality_delta=-one.loss,
        bytes=one.bytes,
        over={key: value / limits[key.rpartition(".")[2]] - 1 for key, value in held.items()},
        values=held,
        setting=Setting(threads=2),
        latency_ci95_us=(0.99 * one.latency_us[device], 1.01 * one.latency_us[device]),
    )


def study(
    limits: Mapping[str, float], *, name: str = "s20261122T101112-a1b2c3", concluded: bool = True,
    model: str = "fashion.keras", lost: Mapping[str, str] | None = None,
) -> Study:  # fmt: skip
    """A search of forty trials on two devices, kept in memory."""
    budgets = (Budget(selector="*", limits=dict(limits)),)
    request = Request(
        model=model, data="d.npz", targets=(target("pi4"), target("local")), budgets=budgets
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(study_name=name, directions=["minimize"] * 3)
    found = trials(limits)
    for one in found:
        made.add_trial(
            optuna.trial.create_trial(
                values=objectives(one) if one.ok else None,
                state=optuna.trial.TrialState.COMPLETE if one.ok else optuna.trial.TrialState.FAIL,
                user_attrs={"tried": codec.to_json(one), "stage": one.stage, "bracket": 0},
            )
        )
    study = Study(made, request)
    study.judged_by(Judge(metric="accuracy", source=SOURCE_QUALITY, samples=1000))
    study.spent(math.ceil(max(one.at_s for one in found)) + 60.0)
    if concluded:
        study.conclude(document(name, found, conclusion(limits, lost or {}), {}))
    return study


def conclusion(limits: Mapping[str, float], lost: Mapping[str, str]) -> Conclusion:
    """What such a search comes to."""
    budgets = (Budget(selector="*", limits=dict(limits)),)
    answers = tuple(_answer(trials(limits), device, limits, budgets) for device in SOURCE_US)
    return Conclusion(answers=answers, lost=lost, runs=())


def _answer(
    found: list[Tried], device: str, limits: Mapping[str, float], budgets: tuple[Budget, ...]
) -> Answer:
    best = [one for one in found if one.ok and (one.choice.epochs > 1 or one.number < 3)]
    finals = [final(one, device, limits) for one in best]
    return answer(target(device), finals, budgets, speed="quality_drop" in limits)
