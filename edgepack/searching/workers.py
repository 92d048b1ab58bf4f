"""Choices made into candidates on other machines: dask's workers, or any executor.

What is dear is training, so cut networks are made there; what only quantizes the source is made
here meanwhile. An order carries what its worker needs: model and data (once a worker), the
widths, and the last finished pass of its network, wherever that was trained. What comes back is
the candidate and the passes finished on the way, which are kept in this host's cache: so the
finalists are built from the very networks that were tried. Devices are only measured from here.

The engine gives the order of a worker that died to another one. A delivery is told to the study
here, by its trial's number, once.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepack.compress import recipes, sources
from edgepack.compress.cache import key
from edgepack.compress.engine import Builder
from edgepack.data import Dataset
from edgepack.errors import EdgepackError
from edgepack.fleet.engine import Engine
from edgepack.model import Event, Recipe
from edgepack.searching import space
from edgepack.searching.foundry import Foundry
from edgepack.searching.making import Asked, Here, Late, Made
from edgepack.searching.values import Candidate, Choice, Request

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Order:
    """One candidate to make. widths: as the cutter chose them; stamp: of edgepack here."""

    number: int
    choice: Choice
    widths: Mapping[str, int]
    seed: int
    short: int
    allow_custom_objects: str | None
    stamp: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a worker made of an order: a candidate or an error, and the passes it finished.

    stages: checkpoint's name -> its archive.
    """

    candidate: Candidate | None = None
    error: tuple[str, str, str] | None = None
    stages: Mapping[str, bytes]


Work = Callable[[Order, bytes, bytes, Mapping[str, bytes]], Delivery]


def stamp() -> str:
    """What must be the same on every machine, as another one would build other files."""
    return key("", recipes.parse("float"), "")


# ---------------------------------------------------------------- on the host


class Workers:
    """Makes candidates on the machines of an engine. `work` is what runs there."""

    def __init__(
        self,
        engine: Engine,
        foundry: Foundry,
        builder: Builder,
        request: Request,
        widths: Callable[[Choice], Mapping[str, int]],
        *,
        work: Work | None = None,
    ) -> None:
        self._engine = engine
        self._here = Here(foundry)
        self._shop = builder.workshop
        self._request = request
        self._widths = widths
        self._work = work or forge
        self._shared: dict[str, Any] = {}
        self._stamp = stamp()

    def made(self, asked: Asked, late: Late) -> Iterator[Made]:
        """See `Making`; in the order in which they are finished."""
        far = [(number, choice) for number, choice in asked if choice.percent < 100]
        near = [(number, choice) for number, choice in asked if choice.percent >= 100]
        pending = {self._begun(number, choice): (number, choice) for number, choice in far}
        try:
            yield from self._here.made(near, late)
            while pending and not late(0.0):
                done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    number, choice = pending.pop(future)
                    yield number, choice, self._delivered(future)
        finally:
            for future in pending:
                future.cancel()

    def _begun(self, number: int, choice: Choice) -> Future[Delivery]:
        widths = self._widths(choice)
        request = self._request
        order = Order(
            number=number,
            choice=choice,
            widths=widths,
            seed=request.seed,
            short=request.epochs[0],
            allow_custom_objects=request.allow_custom_objects,
            stamp=self._stamp,
        )
        return self._engine.executor.submit(
            self._work,
            order,
            self._model,
            self._data,
            self._known(order),
        )

    def _known(self, order: Order) -> Mapping[str, Any]:
        """The last pass of the order's network that was finished, wherever that was."""
        for name in reversed(self._shop.stages(network_of(order))):
            packed = self._shop.checkpoints.packed(name)
            if packed is not None:
                return {name: self._once(name, packed)}
        return {}

    @cached_property
    def _model(self) -> Any:
        return self._engine.share(packed_model(self._shop.source.path))

    @cached_property
    def _data(self) -> Any:
        return self._engine.share(pickle.dumps(self._shop.given))

    def _once(self, name: str, content: bytes) -> Any:
        if name not in self._shared:
            self._shared[name] = self._engine.share(content)
        return self._shared[name]

    def _delivered(self, future: Future[Delivery]) -> Candidate | EdgepackError:
        """The candidate, its passes kept. EP407 raised where the engine itself is gone."""
        try:
            delivery = future.result()
        except CancelledError as error:
            raise EdgepackError(
                "EP407",
                "The engine lost what was under way",
                hint="Look at its scheduler, then: edgepack search --resume latest",
            ) from error
        except Exception as error:  # the engine's own, of any kind: its workers died
            return EdgepackError(
                "EP207",
                f"The engine's workers failed: {type(error).__name__}: {str(error)[:300]}",
                hint="Look at their logs; a network may need more memory than they have.",
            )
        if delivery.error is not None:
            code, what, hint = delivery.error
            if code == "EP105":
                raise EdgepackError(code, what, hint=hint)
            return EdgepackError(code, what, hint=hint)
        for name, packed in delivery.stages.items():
            self._shop.checkpoints.unpack(name, packed)
        assert delivery.candidate is not None
        return delivery.candidate


def network_of(order: Order) -> Recipe:
    """The recipe of an order's network, as a float file."""
    steps = space.network_passes(order.choice, order.widths, order.short)
    return space.recipe("network", steps, space.converting("float"), order.seed)


def packed_model(path: Path) -> bytes:
    """A model's file or folder as a ZIP archive."""
    packed = io.BytesIO()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    with zipfile.ZipFile(packed, "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(path.parent).as_posix())
    return packed.getvalue()


# ---------------------------------------------------------------- on a worker


def forge(order: Order, model: bytes, data: bytes, stages: Mapping[str, bytes]) -> Delivery:
    """Make an order's candidate on the machine that this runs on."""
    if order.stamp != stamp():
        what = "A worker of the engine has another edgepack, Python, TensorFlow or processor"
        hint = "Install the same versions here and on all workers, of one architecture."
        return Delivery(error=("EP105", what, hint), stages={})
    with _ALONE:
        try:
            return _smithy(order, model, data).make(order, stages)
        except EdgepackError as error:
            return Delivery(error=(error.code, error.what, error.hint), stages={})


class _Smithy:
    """A worker process's foundry for one search, with a folder of its own."""

    def __init__(self, order: Order, model: bytes, dataset: Dataset | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgepack-worker-")
        folder = Path(self._folder.name)
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            archive.extractall(folder / "model")
        [path] = (folder / "model").iterdir()
        self._widths: Mapping[str, int] = {}
        self._builder = Builder(
            sources.identify(str(path)),
            dataset,
            cache=folder / "builds",
            allow_custom_objects=order.allow_custom_objects,
            emit=_silent,
        )
        self._foundry = Foundry(
            self._builder, seed=order.seed, short=order.short, widths=lambda _: self._widths
        )

    def make(self, order: Order, stages: Mapping[str, bytes]) -> Delivery:
        """The candidate, and the checkpoints on the way to it that were not sent here."""
        shop = self._builder.workshop
        for name, packed in stages.items():
            shop.checkpoints.unpack(name, packed)
        self._widths = order.widths
        candidate = self._foundry.make(order.number, order.choice)
        found = {
            name: shop.checkpoints.packed(name)
            for name in shop.stages(network_of(order))
            if name not in stages
        }
        finished = {name: packed for name, packed in found.items() if packed is not None}
        return Delivery(candidate=candidate, stages=finished)


# A worker's threads take turns: TensorFlow uses all cores anyway, and a foundry is not shared.
_ALONE = threading.Lock()
_SMITHIES: dict[str, _Smithy] = {}


def _smithy(order: Order, model: bytes, data: bytes) -> _Smithy:
    """This process's smithy of that search; one at a time is kept."""
    total = hashlib.sha256(model)
    total.update(data)
    total.update(repr((order.seed, order.short, order.allow_custom_objects)).encode())
    name = total.hexdigest()
    if name not in _SMITHIES:
        _SMITHIES.clear()
        _SMITHIES[name] = _Smithy(order, model, pickle.loads(data))  # noqa: S301  (our host's)
    return _SMITHIES[name]


def _silent(event: Event) -> None:
    """What single passes say is not the search's progress."""
