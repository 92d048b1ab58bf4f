"""How a command measures: the options that `run` and `bench` share, and what they turn into."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgepack.cli import options, stored

if TYPE_CHECKING:
    from edgepack.model import JobSettings
    from edgepack.plan import Target


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The values of the options below, by their names."""

    device: tuple[str, ...]
    budget: str | None
    baseline: str
    fail_on: tuple[str, ...]
    threads: tuple[int, ...]
    runtime: str | None
    accelerator: str | None
    delegate_option: tuple[str, ...]
    xnnpack: bool | None
    profile_ops: bool
    quality: tuple[str, ...]
    quality_samples: int | None
    bisect: bool
    mode: str
    max_seconds: float | None
    min_seconds: float
    min_queries: int
    batch: int
    stable: float | None
    launches: int | None
    ci: float
    seed: int
    timeout: float | None
    wait: float
    require_signed: bool
    allowed_signers: str | None
    allow_rollback: bool
    engine: str | None

    def targets(self) -> list[Target]:
        """The devices asked for, each with its profile. EP101, EP103, EP105."""
        from edgepack.cli.runtimes import adapted

        adapt = functools.partial(
            adapted,
            runtime=self.runtime,
            accelerator=self.accelerator,
            xnnpack=self.xnnpack,
            delegate_options=self.delegate_option,
        )
        return options.targets(self.device, adapt)

    def settings(self) -> JobSettings:
        """The settings of a job. EP105 when the times contradict each other."""
        from edgepack.errors import EdgepackError
        from edgepack.model import JobSettings

        max_s = _MAX_S[self.mode] if self.max_seconds is None else self.max_seconds
        timeout = self.timeout or max(600.0, 2 * max_s + 300 + (self.stable or 0))
        if timeout <= max_s:
            raise EdgepackError(
                "EP105",
                f"--timeout ({timeout:g} s) is not longer than --max-seconds ({max_s:g} s)",
                hint="Give loading, quality and transfer a minute more than the measuring.",
            )
        if (self.launches or 1) > 1 and self.mode != "latency":
            raise EdgepackError(
                "EP105",
                f"--launches {self.launches} does not go with --mode {self.mode}",
                hint="Measure in mode latency, or leave --launches out.",
            )
        for ignored, because in _IGNORED[self.mode]:
            options.not_with(ignored, f"--mode {self.mode}", because)
        first, *further = self.threads or (None,)
        return JobSettings(
            threads=first,
            sweep_threads=tuple(count for count in further if count is not None),
            mode=self.mode,
            max_s=max_s,
            min_s=self.min_seconds,
            min_queries=self.min_queries,
            batch=self.batch,
            stable_s=self.stable,
            launches=self.launches,
            ci=self.ci,
            seed=self.seed,
            timeout_s=timeout,
            wait_s=self.wait,
            profile_ops=self.profile_ops,
            quality_samples=self.quality_samples,
        )

    def plan(self) -> dict[str, Any]:
        """What `plan.make` takes of these: targets, settings, budgets and baseline."""
        from edgepack.analysis import limits

        if self.quality:
            from edgepack import quality

            for spec in self.quality:
                quality.load(spec)  # a wrong name is told before anything is built
        targets = self.targets()
        return {
            "targets": targets,
            "settings": self.settings(),
            "budgets": (*options.budgets(self.budget, targets), *limits.fail_on(self.fail_on)),
            "baseline": self.baseline,
            "require_signed": self.require_signed,
            "allowed_signers": self.allowed_signers,
            "allow_rollback": self.allow_rollback,
            "bisect": self.bisect,
            "engine": self.engine,
            "quality": self.quality,
        }


_MAX_S = {"latency": 20.0, "offline": 20.0, "single-stream": 1800.0, "sustained": 300.0}
"""Seconds of rounds by mode, unless --max-seconds says otherwise. In single-stream mode the
minimum duration ends a variant's rounds, so this only bounds them."""


_OTHER_MODES = ({"min_seconds", "min_queries"}, "it is for --mode single-stream")
_IGNORED = {
    "latency": (_OTHER_MODES,),
    "offline": (_OTHER_MODES,),
    "single-stream": (({"ci"}, "LoadGen's rules say when it ends"),),
    "sustained": (_OTHER_MODES, ({"ci"}, "it takes all of --max-seconds")),
}
"""What each mode takes no notice of, and why. Set once for all runs (in the configuration or the
environment), it waits for the mode that does."""


def _thread_counts(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, ...]:
    """ "1,2,4" as numbers, each once; () without any. A usage error for what is not one."""
    if value is None:
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 256 for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of numbers from 1 to 256.")
    return tuple(dict.fromkeys(int(part) for part in parts))


measuring_options = options.grouped(
    "measuring",
    Measuring,
    options.device_option,
    click.option("--budget", metavar="FILE", help="A TOML file of limits; a failed one exits 1."),
    stored.baseline_option,
    stored.fail_on_option,
    click.option(
        "--threads",
        metavar="N[,N…]",
        callback=_thread_counts,
        help="Threads; default: the profile's. Further numbers are measured in the same rounds.",
    ),
    click.option(
        "--runtime",
        metavar="NAME[/compiled|/c][==VERSION]",
        help="Use this runtime only (ai-edge-litert, tflite-runtime, tensorflow), or LiteRT's "
        "CompiledModel or C interface, timed in C; default: the profile's.",
    ),
    click.option(
        "--accelerator",
        metavar="cpu|gpu|delegate:FILE|npu[:FOLDER]",
        help="FILE: an external delegate's library, FOLDER: of a LiteRT dispatch library, both on "
        "the device; default: the profile's.",
    ),
    click.option(
        "--delegate-option",
        metavar="KEY=VALUE",
        multiple=True,
        help="An option of the external delegate; may be repeated.",
    ),
    click.option(
        "--xnnpack/--no-xnnpack",
        default=None,
        help="Whether XNNPACK may take operations on the CPU; default: the profile's.",
    ),
    click.option(
        "--bisect",
        is_flag=True,
        help="Where a device's outputs differ from this host's, find the operation they part at.",
    ),
    click.option(
        "--profile-ops",
        is_flag=True,
        help="Also tell each operation's time (estimated without a profiler).",
    ),
    click.option(
        "--mode",
        type=click.Choice(list(_MAX_S)),
        default="latency",
        show_default=True,
        help="latency: single inferences until p50 is known; single-stream: by MLPerf LoadGen's "
        "rules; offline: throughput; sustained: minute by minute, for boards that grow hot.",
    ),
    click.option(
        "--max-seconds",
        type=click.FloatRange(0.5, 86400),
        help="Time for the rounds on each device.  [default: 20; sustained 300; single-stream "
        "1800]",
    ),
    click.option(
        "--min-seconds",
        type=click.FloatRange(0, 86400),
        default=60.0,
        show_default=True,
        help="Mode single-stream: least time of each variant.",
    ),
    click.option(
        "--min-queries",
        type=click.IntRange(1, 2**31),
        default=1024,
        show_default=True,
        help="Mode single-stream: least inferences of each variant.",
    ),
    click.option(
        "--quality",
        metavar="NAME|MODULE:FUNCTION",
        multiple=True,
        help="Judge by this metric of all outputs, on this host (map, miou, or your own); may be "
        "repeated. Default: what the data's labels are for, on the device.",
    ),
    click.option(
        "--quality-samples",
        type=click.IntRange(1),
        help="Judge the quality of so many evaluation samples only.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, 65536),
        default=1,
        show_default=True,
        help="Samples an inference, where the model can be resized for it.",
    ),
    click.option(
        "--stable",
        metavar="SECONDS",
        type=click.FloatRange(0, 86400),
        help="Start only on a cool and idle board; give up after SECONDS.",
    ),
    click.option(
        "--launches",
        type=click.IntRange(1, 100),
        help="Measure each variant in so many processes, one after the other: two processes of "
        "one file differ by a percent and more.  [default: 6 when a variant takes less than "
        "50 µs, else 1]",
    ),
    click.option(
        "--ci",
        type=click.FloatRange(0.0005, 0.5),
        default=0.01,
        show_default=True,
        help="Stop early once p50 is known to this share of itself (95% confidence).",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of every order."),
    click.option(
        "--timeout",
        type=click.FloatRange(5, 7 * 86400),
        help="Seconds after the push in which a device's job is done, or given up.  [default: 600, "
        "or twice the rounds' time and five minutes]",
    ),
    click.option(
        "--wait",
        type=click.FloatRange(0, 86400),
        default=15.0,
        show_default=True,
        help="Seconds to wait for a device that someone else measures on.",
    ),
    options.signature_options,
    click.option(
        "--engine",
        metavar="dask://HOST:PORT",
        help="Reach the devices from this dask cluster's workers (extra edgepack[dask]).",
    ),
)
