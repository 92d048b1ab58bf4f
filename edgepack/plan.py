"""What a run will do, as a value: `--dry-run` prints it and stops here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgepack.errors import EdgepackError
from edgepack.model import Budget, Device, JobSettings, Profile, Recipe

ON_DEVICE = "device:"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One device with the profile that applies to it."""

    device: Device
    profile: Profile


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run needs to know before it does anything.

    model: path of the source model, of a package, or of the weights for `arch`; data: the
    dataset as the user named it, None for seeded random inputs. require_signed, or a file of
    allowed_signers (which goes before the devices' own): only a signed package is measured.
    engine: URL of what else than this machine talks to the devices ("dask://HOST:PORT").
    quality: metrics that the host makes of the outputs, names or "module:function".
    calibrate_on_device: activations' ranges come from the devices' own data.
    """

    model: str
    data: str | None
    recipes: tuple[Recipe, ...]
    targets: tuple[Target, ...]
    settings: JobSettings = field(default_factory=JobSettings)
    budgets: tuple[Budget, ...] = ()
    baseline: str = "float"
    allow_custom_objects: str | None = None
    arch: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    require_signed: bool = False
    allowed_signers: str | None = None
    allow_rollback: bool = False
    bisect: bool = False
    engine: str | None = None
    quality: tuple[str, ...] = ()
    calibrate_on_device: bool = False

    @property
    def device_data(self) -> str | None:
        """The path of evaluation data that live on the devices ("device:/PATH")."""
        return device_data(self.data)


def device_data(data: str | None) -> str | None:
    """The path in "device:/PATH"; None for any other data."""
    named = (data or "").partition(ON_DEVICE)
    return named[2] if not named[0] and named[1] else None


def check_calibration(data: str | None, engine: str | None = None) -> None:
    """EP105 unless the data are on the devices, and the devices are reached from here."""
    if device_data(data) is None:
        raise EdgepackError(
            "EP105",
            "--calibrate-on-device is for data that are on the devices",
            where="--calibrate-on-device",
            hint="Name them: --data device:/PATH.npz; data of this host are calibrated with here.",
        )
    if engine is not None:
        raise EdgepackError(
            "EP105",
            "--calibrate-on-device talks to the devices from this host, not from an engine",
            where="--engine",
            hint="Build with --calibrate-on-device first, then measure the package with --engine.",
        )


def make(
    *,
    model: str,
    data: str | None,
    recipes: Sequence[Recipe],
    targets: Sequence[Target],
    settings: JobSettings,
    budgets: Sequence[Budget] = (),
    baseline: str = "float",
    allow_custom_objects: str | None = None,
    arch: str | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    require_signed: bool = False,
    allowed_signers: str | None = None,
    allow_rollback: bool = False,
    bisect: bool = False,
    engine: str | None = None,
    quality: Sequence[str] = (),
    calibrate_on_device: bool = False,
) -> Plan:
    """The plan, with repeated recipes and devices named once, in the order given.

    EP105 for evaluation data on the devices where the host or a signature must know them,
    and for a bisection of a signed package or a calibration there without such data.
    """
    unique_recipes = {recipe.name: recipe for recipe in recipes}
    unique_targets = {target.device.name: target for target in targets}
    plan = Plan(
        model=model,
        data=data,
        recipes=tuple(unique_recipes.values()),
        targets=tuple(unique_targets.values()),
        settings=settings,
        budgets=tuple(budgets),
        baseline=baseline,
        allow_custom_objects=allow_custom_objects,
        arch=arch,
        tags=tuple(tags),
        note=note,
        require_signed=require_signed,
        allowed_signers=allowed_signers,
        allow_rollback=allow_rollback,
        bisect=bisect,
        engine=engine,
        quality=tuple(dict.fromkeys(quality)),
        calibrate_on_device=calibrate_on_device,
    )
    if calibrate_on_device:
        check_calibration(plan.data, plan.engine)
    if plan.device_data is not None:
        _check_device_data(plan, plan.device_data)
    refuse_unsignable(plan)
    return plan


def wants_signature(plan: Plan, device: Device) -> bool:
    """Whether only a signed package may go to the device."""
    named = plan.allowed_signers or device.allowed_signers
    return plan.require_signed or named is not None


def refuse_unsignable(plan: Plan) -> None:
    """EP105 where a device wants signatures, and the plan would have it open what has none."""
    if not any(wants_signature(plan, target.device) for target in plan.targets):
        return
    if plan.device_data is not None:
        raise _unfit("a signed package", "vouches for its own data only")
    if plan.bisect:
        raise EdgepackError(
            "EP105",
            "a bisection sends changed models, and nobody has signed those",
            where="--bisect",
            hint="Leave --bisect out, or bisect on a device that takes unsigned packages.",
        )


def _check_device_data(plan: Plan, path: str) -> None:
    if not path.startswith(("/", "~/")) or "\0" in path:
        raise EdgepackError(
            "EP105",
            "the path of data on the devices is not absolute",
            where=plan.data,
            hint="Give it as device:/PATH, or device:~/PATH for one in the login's home.",
        )
    for asked, option in ((plan.quality, "--quality"), (plan.bisect, "--bisect")):
        if asked:
            raise _unfit(option, "works on data that this host has")


def _unfit(what: str, why: str) -> EdgepackError:
    return EdgepackError(
        "EP105",
        f"{what} {why}, and the data are on the devices",
        where="--data",
        hint="Give data of this host, or leave it out.",
    )


def describe(plan: Plan) -> str:
    """The plan in plain lines, for a person."""
    settings = plan.settings
    lines = [
        f"model    {plan.model}" + (f" as the weights of {plan.arch}" if plan.arch else ""),
        f"data     {plan.data or 'seeded random inputs (quality is agreement with the source)'}",
    ]
    if plan.calibrate_on_device:
        lines.append("ranges   of activations, from each device's own data")
    for recipe in plan.recipes:
        steps = " -> ".join(_step(step.name, step.params) for step in recipe.passes)
        lines.append(f"recipe   {recipe.name}: {steps or 'the file as it is'}")
    for target in plan.targets:
        device, profile = target.device, target.profile
        place = f"{device.user}@{device.host}:{device.port or 22}" if device.host else "this host"
        threads = settings.threads or profile.threads
        runtimes = ", ".join(runtime.name for runtime in profile.runtimes)
        lines.append(
            f"device   {device.name}: {place}, profile {profile.name}, {threads} thread(s), "
            f"{profile.accelerator}, first found of {runtimes}"
        )
    lines.append(f"measure  {_measuring(settings)}; seed {settings.seed}")
    if plan.quality:
        lines.append(f"quality  {', '.join(plan.quality)}, of the devices' outputs")
    if plan.engine:
        lines.append(f"engine   {plan.engine}")
    lines += [f"budget   {b.selector}: {_step('', b.limits)}" for b in plan.budgets]
    return "\n".join(lines)


def _measuring(settings: JobSettings) -> str:
    """How long is measured and what, by mode."""
    until = {
        "single-stream": f"until every variant had {settings.min_s:g} s and "
        f"{settings.min_queries} queries",
        "sustained": "minute by minute",
    }.get(settings.mode, f"until p50 is known to ±{settings.ci:.1%}")
    said = (
        f"{settings.mode}, at least {settings.min_rounds} stretches of interleaved rounds, "
        f"{until}, at most {settings.max_s:g} s"
    )
    if settings.batch > 1:
        said += f"; batches of {settings.batch}"
    if settings.sweep_threads:
        said += f"; in the same rounds with {', '.join(map(str, settings.sweep_threads))} threads"
    if settings.launches is not None:
        said += f"; each variant in {settings.launches} process(es) one after the other"
    if settings.stable_s is not None:
        said += f"; only once the board is cool and idle, within {settings.stable_s:g} s"
    return said


def _step(name: str, params: object) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in dict(params).items())  # type: ignore[call-overload]
    if not name:
        return inside
    return f"{name}({inside})" if inside else name
