"""The cutter: from a wanted latency to channel counts, by the tables of all devices."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgepack import config
from edgepack.compress import heldback
from edgepack.compress.passes.base import Context
from edgepack.compress.structured import Kernel, Layout, Samples
from edgepack.model import Recipe
from edgepack.searching import widths
from edgepack.searching.gauge import DeviceLostError
from edgepack.searching.tables import Measure, Table
from edgepack.searching.values import Choice, Request

# As many as `prune.structured` looks at: the search must rank as the pass will.
_SAMPLES = 512


class Cutter:
    """Widths of choices. `prepare` it before the first choice that cuts.

    measures: by device, what times single kernels there. int8: says, when the tables are made,
    which kernels to measure in int8. runtime: what a device's table is called by besides the
    device.
    """

    def __init__(
        self,
        layout: Layout,
        request: Request,
        context: Context,
        measures: Callable[[], Mapping[str, Measure]],
        *,
        int8: Callable[[], Callable[[Kernel], bool]],
        runtime: Callable[[str], str],
    ) -> None:
        self._layout = layout
        self._request = request
        self._context = context
        self._measures = measures
        self._int8 = int8
        self._runtime = runtime
        multiple = max(target.profile.channel_multiple for target in request.targets)
        self.allowed = layout.allowed(multiple)
        self._tables: list[Table] = []
        self._scores: dict[str, Mapping[str, np.ndarray]] = {}

    def prepare(self) -> None:
        """Measure the tables, or read them. A device that is lost by it has none.

        Raises:
            EdgepackError: no device is left, or one cannot run a kernel.
            TimeUpError: the time of the search was up before; what was measured is kept.
        """
        if self._tables:
            return
        found = []
        for device, measure in list(self._measures().items()):
            with contextlib.suppress(DeviceLostError):  # said where it was lost
                found.append(self._table(device, measure))
        self._tables = found

    def __call__(self, choice: Choice) -> Mapping[str, int]:
        """Channels to keep by group; nothing where the choice cuts nothing."""
        if choice.percent >= 100:
            return {}
        lost = widths.losses(self._ranked(choice.importance), self.allowed, choice.lean)
        # Kernels have a floor: on a small net the fastest widths may take most of the time.
        fastest = self._share(widths.choose(lost, self._share, 0.0))
        limit = fastest + (1 - fastest) * choice.percent / 100
        chosen = widths.choose(lost, self._share, limit)
        return {name: count for name, count in chosen.items() if count < self._layout.groups[name]}

    def _share(self, chosen: Mapping[str, int]) -> float:
        shares = [table.share(chosen) for table in self._tables]
        return sum(shares) / len(shares)

    def _table(self, device: str, measure: Measure) -> Table:
        where = re.sub(r"[^\w.=-]+", "_", f"{device}-{self._runtime(device)}")
        file = config.cache_dir() / "tables" / f"{where}.json"
        table = Table(self._layout.kernels, self.allowed, Path(file), int8=self._int8())
        table.measure(measure)
        return table

    def _ranked(self, kind: str) -> Mapping[str, np.ndarray]:
        if kind not in self._scores:
            self._scores[kind] = self._layout.scores(kind, self._samples(), self._request.seed)
        return self._scores[kind]

    def _samples(self) -> Samples | None:
        data = self._context.dataset
        if not data.train_samples:
            return None
        order = heldback.to_train(data.train_samples, self._context.seed)
        rows = np.sort(order[:_SAMPLES])
        labels = None if data.y_train is None else data.y_train[rows]
        return Samples(inputs=data.real("train", rows), labels=labels)


def in_int8(recipe: Recipe | None) -> Callable[[Kernel], bool]:
    """In which of a network's kernels the files of a recipe compute in int8."""
    rules = recipe.passes[-1].params if recipe else {}
    if rules.get("activations") != "int8":
        return lambda _kernel: False
    # The converter names an operator by the layers that it fused, as paths.
    kept = {part for name in rules.get("keep", ()) for part in re.split("[/;]", str(name))}
    return lambda kernel: kernel.layer not in kept
