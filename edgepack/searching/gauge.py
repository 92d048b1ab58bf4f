"""The gauge: candidates measured on the registered devices, by the agent that measures runs.

One thread a device: several devices measure at once, and all of them while the host builds or
trains the next candidates. A device that is this host is waited for: training beside a
measurement would be measured too. Each job also measures the source's float file, so that
candidates of different jobs can be compared by their speed-up.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from edgepack import inloop
from edgepack.errors import EdgepackError
from edgepack.fleet import DeviceReport
from edgepack.model import Event, Failure, JobSettings, Measurement, RuntimeSpec
from edgepack.plan import Target

SOURCE = "source"
BATCH = 8
"""Candidates of one job: each is a process on the device, all of them alive at once."""
WAIT_S = 600.0
"""How long at most a search waits for a device that another session measures on: to lose the
device is to lose what was found for it. Another search's finalists take minutes."""
_WAIT_LEAST_S = 60.0
# Seven stretches of 40 ms and more: enough for an interval of p50 without a shape, and to rank by.
_SECONDS_EACH = 0.35
# Samples by which a device with data of its own judges: as many as the foundry does here; what a
# candidate may take for it on a slow board.
_JUDGED, _JUDGING_S = 1000, 120.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How candidates of one job are run: threads (0: the profile's) and runtime ("": its)."""

    threads: int = 0
    runtime: str = ""

    @property
    def name(self) -> str:
        """A word for it, fit for a file's name."""
        return re.sub(r"[^\w.-]+", "_", f"{self.threads}t-{self.runtime or 'any'}")

    @property
    def said(self) -> str:
        """ "2 threads, ai-edge-litert==2.3.0"; "" where all of it is the profile's."""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return ", ".join(part for part in (threads, self.runtime) if part)


class DeviceLostError(Exception):
    """A device failed as a whole: `failure` says why."""

    def __init__(self, device: str, failure: Failure) -> None:
        super().__init__(f"{device}: {failure.what}")
        self.device = device
        self.failure = failure


def is_this_host(target: Target) -> bool:
    """Whether measuring there and training here disturb each other."""
    return target.device.transport == "local" or target.device.host in ("localhost", "127.0.0.1")


class Gauge:
    """Measures batches on every target. Close it, or use it as a context."""

    def __init__(
        self,
        targets: Sequence[Target],
        source: bytes,
        *,
        seed: int,
        emit: Callable[[Event], None],
        data: str | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """data: path of samples on the devices by which these judge quality. wait_s: for a device
        that another session measures on."""
        self._data = data
        self._wait_s = wait_s
        self._targets = list(targets)
        self._source = source
        self._seed = seed
        self._emit = emit
        self._pools = {
            target.device.name: ThreadPoolExecutor(1, thread_name_prefix="gauge")
            for target in targets
        }

    def __enter__(self) -> Gauge:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def targets(self) -> Sequence[Target]:
        """The devices that still answer."""
        return tuple(self._targets)

    @property
    def alone(self) -> bool:
        """Whether the host must rest while a device measures."""
        return any(map(is_this_host, self._targets))

    def drop(self, device: str) -> None:
        """Go on without a device."""
        self._targets = [one for one in self._targets if one.device.name != device]

    def begin(
        self, files: Mapping[str, bytes], setting: Setting, *, only: str | None = None
    ) -> dict[str, Future[Mapping[str, Measurement]]]:
        """Start measuring files by name, on one device or all; what will be known by name.

        A future raises DeviceLostError where the device failed as a whole.
        """
        return {
            target.device.name: self._pools[target.device.name].submit(
                self._job, files, with_runtime(target, setting), setting
            )
            for target in self._targets
            if only in (None, target.device.name)
        }

    def _job(
        self, files: Mapping[str, bytes], target: Target, setting: Setting
    ) -> Mapping[str, Measurement]:
        wanted = {SOURCE: self._source, **files}
        settings = JobSettings(
            threads=setting.threads or None,
            warmup_s=0.1,
            warmup_max_s=0.4,
            min_rounds=6,
            launches=1,
            max_s=_SECONDS_EACH * len(wanted),
            ci=0.02,
            seed=self._seed,
            timeout_s=60.0 + (_JUDGING_S if self._data else 20.0) * len(wanted),
            parity_samples=0,
            wait_s=self._wait_s,
            quality_samples=_JUDGED if self._data else None,
        )
        [report] = inloop.measure(
            wanted, [target], settings=settings, emit=self._emit, device_data=self._data
        )
        return _checked(report)


def _checked(report: DeviceReport) -> Mapping[str, Measurement]:
    if report.failure is not None:
        raise DeviceLostError(report.device, report.failure)
    found = {one.variant: one for one in report.measurements}
    failure = found[SOURCE].failure
    if failure is not None:  # what cannot run the source cannot be searched for
        raise DeviceLostError(report.device, failure)
    return found


def with_runtime(target: Target, setting: Setting) -> Target:
    """The target with the runtime that a setting names in place of its profile's."""
    if not setting.runtime:
        return target
    name, _, version = setting.runtime.partition("==")
    spec = RuntimeSpec(name=name, version=version or None, exact=bool(version))
    return dataclasses.replace(
        target, profile=dataclasses.replace(target.profile, runtimes=(spec,))
    )


def patience(seconds: float | None) -> float:
    """How long a search of so many seconds (None: no limit) waits for a busy device."""
    return WAIT_S if seconds is None else max(_WAIT_LEAST_S, min(WAIT_S, seconds))


def lost(error: DeviceLostError, search: str) -> EdgepackError:
    """The device's failure as the error that ends a search without devices."""
    failure = error.failure
    hint = failure.hint
    if failure.code == "EP410":  # a search has no --wait
        hint = f"When it is free, go on with: edgepack search --resume {search}"
    return EdgepackError(failure.code, failure.what, where=error.device, hint=hint)
