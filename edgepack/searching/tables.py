"""What each layer costs at each width, measured on the device and kept.

A kernel is measured alone at every count of one channel axis with the other one whole; what
it costs in between is the product of the two sweeps:

    time(in, out) = time(in, whole) * time(whole, out) / time(whole, whole)

which keeps the stairs of both axes and needs n + m measurements instead of n * m. The sum
over a model's kernels leaves out what runs between them, so a table only chooses what to
build; what counts is the file as measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgepack import private
from edgepack.compress.structured import Axis, Kernel
from edgepack.searching import kernels

Measure = Callable[[Mapping[str, bytes]], Iterator[Mapping[str, float]]]
"""Files by name -> microseconds by name, on one device, a part at a time; not all of them where
the time is up."""


class TimeUpError(Exception):
    """The time of the search was up before a table was measured."""


class Table:
    """The kernels of one model on one device.

    allowed: counts by group. file: where measurements are kept, by kernel; shared by models.
    int8: whether a kernel is measured in int8, or in float.
    """

    def __init__(
        self,
        found: Sequence[Kernel],
        allowed: Mapping[str, Sequence[int]],
        file: Path,
        *,
        int8: Callable[[Kernel], bool],
    ) -> None:
        self._kernels = [kernel for kernel in found if kernel.reads.groups or kernel.makes.groups]
        self._whole = {name: max(counts) for name, counts in allowed.items()}
        self._allowed = allowed
        self._file = file
        self._int8 = int8
        self._known = self._read()
        self._sweeps: list[tuple[Kernel, _Sweep, _Sweep, float]] = []

    def measure(self, measure: Measure) -> int:
        """Measure what is not known yet, keep it, and say how many kernels that were.

        Every part is kept as soon as it is known: a search that is broken off loses no other.

        Raises:
            TimeUpError: some are left.
        """
        wanted = {
            self._key(kernel, *pair): (kernel, pair)
            for kernel in self._kernels
            for pair in self._pairs(kernel)
        }
        files = {
            key: kernels.build(kernel, *pair, int8=self._int8(kernel))
            for key, (kernel, pair) in wanted.items()
            if key not in self._known
        }
        for part in measure(files) if files else ():
            self._known |= part
            self._write()
        if not set(files) <= set(self._known):
            raise TimeUpError
        self._sweeps = [self._swept(kernel) for kernel in self._kernels]
        return len(files)

    def microseconds(self, widths: Mapping[str, int]) -> float:
        """What the kernels take together when the groups have these widths."""
        full = {**self._whole, **widths}
        return sum(
            reads.at(kernel.reads.width(full)) * makes.at(kernel.makes.width(full)) / whole
            for kernel, reads, makes, whole in self._sweeps
        )

    def share(self, widths: Mapping[str, int]) -> float:
        """`microseconds` as a share of what the whole model's kernels take."""
        return self.microseconds(widths) / self.microseconds({})

    def _pairs(self, kernel: Kernel) -> list[tuple[int, int]]:
        full = kernel.reads.width(self._whole), kernel.makes.width(self._whole)
        if kernel.kind == "depthwise":
            return [(count, count) for count in self._counts(kernel.reads)]
        found = [(count, full[1]) for count in self._counts(kernel.reads)]
        return found + [(full[0], count) for count in self._counts(kernel.makes)]

    def _counts(self, axis: Axis) -> list[int]:
        """Every width of the axis that one group's counts give, the others whole."""
        found = {axis.width(self._whole)}
        for name in axis.groups:
            found |= {axis.width({**self._whole, name: n}) for n in self._allowed[name]}
        if len(axis.groups) > 1:
            found.add(axis.width({name: min(counts) for name, counts in self._allowed.items()}))
        return sorted(found)

    def _swept(self, kernel: Kernel) -> tuple[Kernel, _Sweep, _Sweep, float]:
        full = kernel.reads.width(self._whole), kernel.makes.width(self._whole)
        whole = self._us(kernel, *full)
        reads = self._counts(kernel.reads)
        if kernel.kind == "depthwise":
            flat = _Sweep([full[1]], [whole])
            return kernel, _Sweep(reads, [self._us(kernel, n, n) for n in reads]), flat, whole
        makes = self._counts(kernel.makes)
        return (
            kernel,
            _Sweep(reads, [self._us(kernel, n, full[1]) for n in reads]),
            _Sweep(makes, [self._us(kernel, full[0], n) for n in makes]),
            whole,
        )

    def _us(self, kernel: Kernel, reads: int, makes: int) -> float:
        return self._known[self._key(kernel, reads, makes)]

    def _key(self, kernel: Kernel, reads: int, makes: int) -> str:
        arithmetic = "int8" if self._int8(kernel) else "float"
        return f"{arithmetic}-{kernels.name_of(kernel, reads, makes)}"

    def _read(self) -> dict[str, float]:
        try:
            return dict(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _write(self) -> None:
        private.folder(self._file.parent)
        fresh = self._file.with_suffix(".part")
        known = json.dumps({**self._read(), **self._known}, sort_keys=True, indent=0)
        private.write(fresh, known.encode())
        fresh.replace(self._file)


class _Sweep:
    """Times along one axis; between measured widths on a straight line."""

    def __init__(self, counts: Sequence[int], us: Sequence[float]) -> None:
        self._counts, self._us = counts, us
        self._known: dict[int, float] = {}

    def at(self, count: int) -> float:
        if count not in self._known:
            self._known[count] = float(np.interp(count, self._counts, self._us))
        return self._known[count]
