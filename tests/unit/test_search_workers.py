"""Candidates made on other machines: what dies there is neither lost nor done twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgepack import fleet
from edgepack.compress import sources
from edgepack.compress.engine import Builder
from edgepack.errors import EdgepackError
from edgepack.fleet.engine import Engine
from edgepack.searching import workers
from edgepack.searching.study import Study
from edgepack.searching.values import Choice
from edgepack.searching.workers import Delivery, Order, Workers
from tests.unit.test_search_study import SPACE, evaluated, request

MODEL = Path(__file__).parents[1] / "data" / "classifier_int8.tflite"
TRIALS = 8


@pytest.fixture
def dask() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as made:
        yield made


def made_by(engine: Engine, folder: Path, work: Any) -> Workers:
    builder = Builder(
        sources.identify(str(MODEL)), None, cache=folder / "builds", emit=lambda event: None
    )
    widths = {"conv": 8}
    # Nothing is made here: every choice of these tests cuts.
    return Workers(engine, None, builder, request(), lambda choice: widths, work=work)  # type: ignore[arg-type]


def test_a_killed_worker_loses_no_trial_and_none_is_told_twice(
    dask: Any, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPACK_STORE", cluster.database())  # searches are kept with the runs
    monkeypatch.delenv("EDGEPACK_SEARCHES", raising=False)
    fatal = tmp_path / "killed"

    def work(order: Order, model: bytes, data: bytes, stages: Any) -> Delivery:
        """What a worker does, but for the training; the fourth order kills its first worker."""
        import os
        import signal

        from edgepack.model import PassSpec, Recipe
        from edgepack.searching.values import Candidate

        if order.number == 3 and not fatal.exists():
            fatal.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        recipe = Recipe(name=f"t{order.number:03d}", passes=(PassSpec(name="convert.float"),))
        candidate = Candidate(
            number=order.number,
            choice=order.choice,
            recipe=recipe,
            content=model,
            sha256="0" * 64,
            quality=0.9,
            loss=0.0,
        )
        return Delivery(candidate=candidate, stages={})

    study = Study.create("s", request())
    for number in range(TRIALS):
        study.enqueue("shot", 0, {"percent": 10 + 10 * number, "epochs": 0, "scheme": "int8"})
    told = []
    with fleet.opened(f"dask://{dask.scheduler_address.removeprefix('tcp://')}") as engine:
        making = made_by(engine, tmp_path, work)
        for number, choice, made in making.made(study.ask(SPACE), lambda needed: False):
            assert not isinstance(made, EdgepackError), made
            study.tell(evaluated(number, "shot", 0, choice))
            told.append(number)
    assert fatal.exists()
    assert sorted(told) == list(range(TRIALS))
    stored = Study.open("latest")
    assert [one.number for one in stored.tried()] == list(range(TRIALS))
    assert stored.ask(SPACE) == [], "nothing is left to be done"


def deliveries(work: Any, folder: Path, choices: list[Choice]) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        making = made_by(Engine(executor=pool), folder, work)
        asked = list(enumerate(choices))
        return [made for _, _, made in making.made(asked, lambda needed: False)]


def test_what_a_worker_refuses_is_a_failed_trial_and_a_crash_of_its_too(tmp_path: Path) -> None:
    def work(order: Order, *_: object) -> Delivery:
        if order.number == 0:
            return Delivery(error=("EP206", "it cannot be cut", "Leave it."), stages={})
        raise MemoryError("too large")

    found = deliveries(work, tmp_path, [Choice(percent=50), Choice(percent=60)])
    assert sorted(one.code for one in found) == ["EP206", "EP207"]
    assert any("MemoryError: too large" in one.what for one in found)


def test_a_worker_of_other_versions_ends_the_search(tmp_path: Path, monkeypatch) -> None:
    mine = workers.stamp()
    stamps = iter([mine, "another"])
    monkeypatch.setattr(workers, "stamp", lambda: next(stamps))
    with pytest.raises(EdgepackError) as caught:
        deliveries(None, tmp_path, [Choice(percent=50)])
    assert caught.value.code == "EP105" and "same versions" in caught.value.hint


def test_late_orders_are_taken_back(tmp_path: Path) -> None:
    begun: list[int] = []
    hold = threading.Event()

    def work(order: Order, *_: object) -> Delivery:
        begun.append(order.number)
        hold.wait(60)
        return Delivery(error=("EP206", "no", "No."), stages={})

    with ThreadPoolExecutor(1) as pool:
        making = made_by(Engine(executor=pool), tmp_path, work)
        asked = [(number, Choice(percent=50)) for number in range(4)]
        assert list(making.made(asked, lambda needed: True)) == []
        hold.set()
    assert len(begun) <= 1
