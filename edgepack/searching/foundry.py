"""The foundry: choices made into `.tflite` files, with their quality on samples kept aside.

A network (a cut, trained or not) is converted to float once, by the engine, with its checks
and its cache. Every scheme is then a matter of milliseconds on that float file. Quality is
judged on training samples that no pass trains on: the test samples are left for the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepack import config, data, fetching
from edgepack.calibrating import DeviceCalibrator
from edgepack.compress import checking, passes, sources
from edgepack.compress.calibration import Ranges
from edgepack.compress.calibration_data import typed
from edgepack.compress.engine import Builder
from edgepack.compress.flatgraph import WEIGHTED, read
from edgepack.compress.heldback import split
from edgepack.compress.network import KerasNetwork
from edgepack.compress.passes.base import Context
from edgepack.compress.passes.quantize_rules import RulesParams, by_rules, ranges_for
from edgepack.compress.sensitivity import Search, compare
from edgepack.compress.site import Site
from edgepack.compress.tracing import infer
from edgepack.data.dataset import Array
from edgepack.model import Event, JobSettings, PassSpec
from edgepack.searching import space
from edgepack.searching.values import Candidate, Choice, Judge, Request, judged_on

Widths = Callable[[Choice], Mapping[str, int]]

# Half a second a candidate on a small net. Accuracy near 90% to ±1.9 points (95%), but all are
# held against the source on the same samples, which is surer.
_VALIDATION = 1000
_RANKED_ON = 64


def opened(request: Request, emit: Callable[[Event], None]) -> Builder:
    """What builds the candidates of a search, with its data loaded. EP110, EP201, EP301, EP302."""
    path, site, dataset = request.device_data, Site(), None
    if path is not None:
        settings = JobSettings(seed=request.seed)
        calibrator = DeviceCalibrator(request.targets, path, settings, emit=emit)
        site = Site(has_data=True, calibrator=calibrator)
    elif request.data is not None:
        dataset = data.load(fetching.data(request.data, emit) or request.data)
    return Builder(
        sources.identify(fetching.model(request.model, emit)),
        dataset,
        cache=config.cache_dir() / "builds",
        allow_custom_objects=request.allow_custom_objects,
        site=site,
        emit=emit,
    )


@dataclass
class _Network:
    """A network's float file, and what its schemes share."""

    content: bytes
    ranges: dict[str, Ranges] = field(default_factory=dict)
    ranking: tuple[str, ...] | None = None


class Foundry:
    """Makes candidates. `widths` tells the channels that a choice's cut leaves."""

    def __init__(self, builder: Builder, *, seed: int, short: int, widths: Widths) -> None:
        self._builder = builder
        self._seed = seed
        self._short = short
        self._widths = widths
        self._networks: dict[str, _Network] = {}
        self._judged: dict[str, tuple[float, float]] = {}
        shop = builder.workshop
        self._context = Context(
            source=shop.network,
            dataset=shop.dataset,
            recipe="search",
            seed=seed,
            workdir=Path(),
            emit=_silent,
            calibrator=shop.site.calibrator,
            data_on_devices=shop.site.has_data,
        )
        self._inputs, self._labels = self._validation()
        self._source = infer(self.source_file, self._inputs)
        self.metric, self.reference = self._reference()

    @property
    def source_file(self) -> bytes:
        """The source as a float file: what everything is compared with."""
        return self._network(()).content

    @property
    def judge(self) -> Judge:
        """What quality means here."""
        return Judge(metric=self.metric, source=self.reference, samples=self.validation_samples)

    @property
    def model(self) -> Any | None:
        """The source's Keras 3 model; None for one that cannot be cut."""
        network = self._builder.workshop.network
        keras3 = isinstance(network, KerasNetwork) and network.framework == "keras"
        return network.model if isinstance(network, KerasNetwork) and keras3 else None

    @property
    def context(self) -> Context:
        """What passes of this search share."""
        return self._context

    @property
    def validation_samples(self) -> int:
        """How many samples quality is judged on while searching."""
        return len(next(iter(self._inputs.values())))

    def make(self, number: int, choice: Choice) -> Candidate:
        """The candidate of a choice.

        Raises:
            EdgepackError: EP204-EP207 where the network or its quantization is refused.
        """
        steps = space.network_passes(choice, self._widths(choice), self._short)
        network = self._network(steps)
        last = space.converting(choice.scheme, self._to_keep(network, choice.scheme))
        content = self._converted(network, last)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._judged:  # other threads or runtimes: the same file
            samples = judged_on(choice.scheme, self.validation_samples)
            self._judged[digest] = self._quality(content, samples)
        quality, loss = self._judged[digest]
        return Candidate(
            number=number,
            choice=choice,
            recipe=space.recipe(f"t{number:03d}", steps, last, self._seed),
            content=content,
            sha256=digest,
            quality=quality,
            loss=loss,
        )

    def _network(self, steps: tuple[PassSpec, ...]) -> _Network:
        key = repr(steps)
        if key not in self._networks:
            digest = hashlib.sha256(key.encode()).hexdigest()[:8]
            recipe = space.recipe(f"net-{digest}", steps, space.converting("float"), self._seed)
            _, path = self._builder.obtain(recipe)
            self._networks[key] = _Network(content=path.read_bytes())
        return self._networks[key]

    def _converted(self, network: _Network, last: PassSpec) -> bytes:
        if last.name != "quantize.rules":
            return network.content
        rules: RulesParams = passes.make(last).params
        if rules.activations == "float":
            return by_rules(network.content, rules, None)
        return by_rules(network.content, rules, self._ranges(network, rules))

    def _ranges(self, network: _Network, rules: RulesParams) -> Ranges:
        key = f"{rules.calibration}/{rules.activations if rules.calibration == 'mse' else ''}"
        if key not in network.ranges:
            found = ranges_for(network.content, self._context.source, self._context, rules)
            network.ranges[key] = found.ranges
        return network.ranges[key]

    def _to_keep(self, network: _Network, scheme: str) -> tuple[str, ...]:
        """The operators of which the scheme leaves some in float, the first of them first."""
        if scheme.startswith("mixed"):
            return self._ranking(network)
        graph = read(network.content)
        return tuple(graph.name(op) for op in graph.ops if op.kind in WEIGHTED)

    def _ranking(self, network: _Network) -> tuple[str, ...]:
        if network.ranking is None:
            operators = len(read(network.content).ops)
            network.ranking = Search(
                float_model=network.content,
                ranges=self._ranges(network, RulesParams()),
                inputs={name: array[:_RANKED_ON] for name, array in self._inputs.items()},
                labels=None,
                goal=0.0,
                fallback="float",
                trials=2 * operators + 2,
                progress=lambda done, total: None,
            ).ranking()
        return network.ranking

    # ------------------------------------------------------------ quality

    def _validation(self) -> tuple[dict[str, Array], Array | None]:
        """Inputs and labels kept out of all training; test samples where there are no others."""
        given = self._context.dataset
        labelled = given.task != "none"
        if given.train_samples > 1 and (not labelled or given.y_train is not None):
            rows = split(given.train_samples, self._seed).held[:_VALIDATION]
            labels, name = given.y_train, "train"
        else:
            rows, name = np.arange(min(_VALIDATION, given.test_samples)), "test"
            labels = given.y_test
        inputs = typed(self._context.source, self._context, name, rows)
        return inputs, labels[rows] if labelled and labels is not None else None

    def _reference(self) -> tuple[str, float]:
        task = self._context.dataset.task
        score = checking.quality(self._source, self._labels, task)
        if score is None:
            return "agreement", 1.0
        return ("accuracy" if task == "classification" else "mae"), score

    def _quality(self, content: bytes, samples: int) -> tuple[float, float]:
        """(quality, quality lost against the source), on so many samples.

        Where these are not all, what is lost on them counts from the source's quality on all:
        qualities on other samples cannot be compared.
        """
        rows = slice(0, samples)
        outputs = infer(content, {name: array[rows] for name, array in self._inputs.items()})
        source = {name: array[rows] for name, array in self._source.items()}
        if self.metric == "agreement":
            loss = compare(source, outputs, None).loss
            return 1 - loss, loss
        task = self._context.dataset.task
        labels = None if self._labels is None else self._labels[rows]
        score = checking.quality(outputs, labels, task)
        before = checking.quality(source, labels, task)
        assert score is not None
        assert before is not None
        quality = score + (self.reference - before)
        if self.metric == "mae":
            return quality, score - before
        return min(1.0, max(0.0, quality)), before - score


def _silent(event: Event) -> None:
    """What single passes say of a candidate is not the search's progress."""
