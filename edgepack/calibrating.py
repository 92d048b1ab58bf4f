"""Calibration on data that live on devices: each runs the float model and tells ranges alone.

The fleet's ranges are the least low and the greatest high of its devices' (`calibration.merged`),
which is what one host would find over all samples together.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from edgepack.compress.calibration import Ranges, float_activations, merged
from edgepack.compress.flatgraph import read
from edgepack.compress.on_devices import DeviceRanges
from edgepack.errors import EdgepackError
from edgepack.fleet.errand import Errand
from edgepack.fleet.messages import calibration_message
from edgepack.model import Blob, CalibrationSource, Event, JobSettings
from edgepack.plan import Target
from edgepack.transport.events import Progress
from edgepack.transport.framing import refused
from edgepack.transport.results import BoardData, Calibrated

Emit = Callable[[Event], None]
T = TypeVar("T")

_WIDTH = 32  # devices at once, as in a run
_START_S = 300.0  # beside the calibration itself: importing runtimes on a slow board
# Data of one kind differ by less from board to board; raw bytes beside scaled ones by 255.
_ODD = 10.0


class DeviceCalibrator:
    """Devices that hold data of their own under one path; a `compress.on_devices.Calibrator`.

    path: of the `.npz` on every device. settings: threads, and how long to wait for a device and
    its answer.
    """

    def __init__(
        self, targets: Sequence[Target], path: str, settings: JobSettings, *, emit: Emit
    ) -> None:
        self._targets = tuple(targets)
        self._path = path
        self._settings = settings
        self._emit = emit
        self._telling = threading.Lock()
        self._known: dict[tuple[str, int, int], DeviceRanges] = {}

    @property
    def data_digest(self) -> str:
        """The devices, and the SHA-256 of the data of each. Asks them, once."""
        return ", ".join(f"{name}={data.sha256}" for name, data in sorted(self._data.items()))

    @cached_property
    def _data(self) -> Mapping[str, BoardData]:
        found = self._each(lambda target, cancel: self._asked(target, None, (), 1, 0, cancel))
        return {name: answer.data for name, answer in found.items()}

    def ranges(self, content: bytes, *, samples: int, seed: int) -> DeviceRanges:
        """See `on_devices.Calibrator`; the same question is asked once.

        Raises:
            EdgepackError: the device's own, EP302 for data that have changed, EP501 for ranges
                that were not asked for or cannot be.
        """
        key = hashlib.sha256(content).hexdigest(), samples, seed
        if key not in self._known:
            self._known[key] = self._measured(content, samples, seed)
        return self._known[key]

    def _measured(self, content: bytes, samples: int, seed: int) -> DeviceRanges:
        names = ", ".join(target.device.name for target in self._targets)
        self._emit(Event(kind="stage", stage="build", message=f"calibrating on {names}"))
        tensors = float_activations(content)
        with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
            file = Path(scratch) / "float.tflite"
            file.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            blob = Blob(sha256=digest, bytes=len(content), path=str(file))
            found = self._each(
                lambda target, cancel: self._asked(
                    target, blob, tuple(tensors), samples, seed, cancel
                )
            )
        by_device = {
            name: checked_ranges(answer, tensors, samples) for name, answer in found.items()
        }
        for name, answer in found.items():
            if answer.data.sha256 != self._data[name].sha256:
                raise _changed(name, self._path)
        return DeviceRanges(
            ranges=merged(by_device.values()),
            sources=tuple(_source(name, answer) for name, answer in found.items()),
            notes=(*_test_only(found), *odd_inputs(content, by_device)),
        )

    def _asked(
        self,
        target: Target,
        blob: Blob | None,
        tensors: Sequence[int],
        samples: int,
        seed: int,
        cancel: threading.Event,
    ) -> Calibrated:
        """One device's answer."""
        device, settings = target.device, self._settings
        if device.allowed_signers is not None:
            raise EdgepackError(
                "EP209",
                f"'{device.name}' takes signed packages only, and a model to calibrate is none",
                hint="Calibrate on a device without allowed_signers, or on this host.",
            )
        blobs = [] if blob is None else [blob]
        with Errand(device, progress=self._progress(device.name), cancel=cancel) as errand:
            errand.send(
                calibration_message(
                    device,
                    target.profile,
                    settings,
                    data=self._path,
                    blobs=blobs,
                    tensors=tensors,
                    samples=samples,
                    seed=seed,
                )
            )
            errand.push(blobs, settings.wait_s)
            answer = errand.expect(Calibrated, settings.timeout_s + _START_S)
            errand.finish()
        return answer

    def _progress(self, device: str) -> Callable[[Progress], None]:
        def tell(heard: Progress) -> None:
            event = Event(
                kind="progress",
                stage="build",
                message="calibrating",
                device=device,
                done=heard.done,
                total=heard.total,
            )
            with self._telling:
                self._emit(event)

        return tell

    def _each(self, ask: Callable[[Target, threading.Event], T]) -> dict[str, T]:
        """Every device's answer, by name; the first failure ends the others."""
        cancel = threading.Event()
        with ThreadPoolExecutor(_WIDTH, thread_name_prefix="calibrate") as pool:
            futures = {pool.submit(_named, ask, one, cancel): one for one in self._targets}
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                cancel.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return {one.device.name: future.result() for future, one in futures.items()}


def _named(
    ask: Callable[[Target, threading.Event], T], target: Target, cancel: threading.Event
) -> T:
    try:
        return ask(target, cancel)
    except EdgepackError as error:
        raise EdgepackError(
            error.code, error.what, hint=error.hint, where=target.device.name
        ) from error


def checked_ranges(answer: Calibrated, tensors: Mapping[int, str], samples: int) -> Ranges:
    """A device's ranges by tensor name. EP501 for what was not asked for or cannot be.

    tensors: index -> name of those asked for; one without elements may be missing.
    """
    if not 0 < answer.samples <= min(samples, answer.data.samples):
        raise refused(f"a calibration over {answer.samples} samples")
    if not answer.ranges:
        raise refused("a calibration without ranges")
    found: Ranges = {}
    due = set(tensors)
    for index, low, high in answer.ranges:
        if index not in due:
            raise refused(f"a range of tensor {index} that was not asked for")
        due.remove(index)
        if low > high:
            raise refused(f"a range from {low:g} to {high:g}")
        found[tensors[index]] = low, high
    return found


def _source(name: str, answer: Calibrated) -> CalibrationSource:
    runtime = answer.runtime
    return CalibrationSource(
        device=name,
        data_sha256=answer.data.sha256,
        split=answer.data.split,
        samples=answer.samples,
        runtime=f"{runtime.name} {runtime.version or ''}".strip() if runtime else "unknown",
    )


def _test_only(found: Mapping[str, Calibrated]) -> tuple[str, ...]:
    names = [name for name, answer in found.items() if answer.data.split == "test"]
    if not names:
        return ()
    said = f"The data on {', '.join(names)} have no training samples: calibrated on test samples."
    return (said,)


def odd_inputs(content: bytes, by_device: Mapping[str, Ranges]) -> tuple[str, ...]:
    """What to say of model inputs whose values span far more on one device than on another."""
    graph, notes = read(content), []
    for name in (graph.tensors[index].name for index in graph.inputs):
        spans = {
            device: ranges[name][1] - ranges[name][0]
            for device, ranges in by_device.items()
            if name in ranges
        }
        if not spans:
            continue
        least, most = min(spans, key=spans.__getitem__), max(spans, key=spans.__getitem__)
        if spans[most] > _ODD * spans[least]:
            notes.append(
                f"Input '{name}' is within {_said(by_device[least][name])} on {least} and "
                f"{_said(by_device[most][name])} on {most}: is one of them in another unit?"
            )
    return tuple(notes)


def _said(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g} to {ends[1]:g}"


def _changed(device: str, path: str) -> EdgepackError:
    return EdgepackError(
        "EP302",
        f"{path} was changed during the calibration",
        where=device,
        hint="Run it again when the data stay as they are.",
    )
