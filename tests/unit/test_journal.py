"""A run in the store from its first moment: nothing recorded is lost, nothing doubled."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepack import codec, config, measuring, plan
from edgepack.errors import EdgepackError
from edgepack.model import (
    Device,
    Failure,
    JobSettings,
    Measurement,
    Run,
    Status,
    Transfer,
)
from edgepack.plan import Target
from edgepack.store import Store, is_final, open_store
from tests import builders

ROOT = Path(__file__).parents[2]
TO_DO = Failure(code="EP412", what="not yet", hint="resume")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture
def whole() -> Run:
    return builders.run(["float", "int8"], ["local", "pi4"], transfers=())


def begun(run: Run) -> Run:
    places = [
        Measurement(
            variant=m.variant,
            device=m.device,
            profile=m.profile,
            status=Status.FAILED,
            failure=TO_DO,
        )
        for m in run.measurements
    ]
    return dataclasses.replace(run, measurements=tuple(places))


def test_what_was_recorded_takes_its_place(store: Store, whole: Run) -> None:
    store.save(begun(whole), journal="the plan")
    last_first = [m for m in whole.measurements if m.device == "pi4"][::-1]
    cost = Transfer(device="pi4", sent_bytes=5)
    store.record(whole.run_id, last_first, cost)
    found = store.load(whole.run_id)
    assert found.measurements[2:] == whole.measurements[2:]
    assert [m.failure for m in found.measurements[:2]] == [TO_DO, TO_DO]
    assert found.transfers == (cost,)
    assert store.journal("latest") == "the plan"
    store.record(whole.run_id, whole.measurements[:2])
    assert store.load(whole.run_id).measurements == whole.measurements


def test_a_good_result_stays_whoever_comes_later(store: Store, whole: Run) -> None:
    store.save(begun(whole), journal="{}")
    first = whole.measurements[0]
    store.record(whole.run_id, [first])
    store.record(whole.run_id, [builders.failed(first.variant, first.device)])
    store.record(whole.run_id, [dataclasses.replace(first, rounds=((1,),))])
    assert store.load(whole.run_id).measurements[0] == first


@pytest.mark.parametrize(
    "lesser",
    [
        builders.failed("float", "local"),
        builders.measurement("float", "local", flags=("cancelled",)),
        builders.measurement("float", "local", status=Status.CRASHED),
    ],
)
def test_anything_less_is_replaced(store: Store, whole: Run, lesser: Measurement) -> None:
    assert not is_final(lesser)
    store.save(begun(whole), journal="{}")
    store.record(whole.run_id, [lesser])
    store.record(whole.run_id, [whole.measurements[0]])
    assert store.load(whole.run_id).measurements[0] == whole.measurements[0]


def test_what_is_not_of_the_run_is_refused_whole(store: Store, whole: Run) -> None:
    store.save(begun(whole), journal="{}")
    stranger = builders.measurement("int4", "local")
    with pytest.raises(KeyError):
        store.record(whole.run_id, [whole.measurements[0], stranger])
    assert store.load(whole.run_id) == begun(whole)


def test_a_run_without_a_journal_cannot_be_resumed(store: Store, whole: Run) -> None:
    store.save(whole)
    with pytest.raises(EdgepackError) as error:
        store.journal(whole.run_id)
    assert error.value.code == "EP601"


RECORD = """
import sys
from edgepack.store import open_store
from tests.unit.test_journal import begun
from tests import builders
run = builders.run(["float", "int8"], [f"d{n}" for n in range(40)], transfers=())
with open_store(sys.argv[1]) as store:
    store.save(begun(run), journal="{}")
    for at in range(0, len(run.measurements), 2):
        store.record(run.run_id, run.measurements[at:at + 2])
        print(run.measurements[at].device, flush=True)
"""


def test_what_was_reported_survives_kill_9(store_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RECORD, store_url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    reported = [process.stdout.readline().strip() for _ in range(7)]
    os.kill(process.pid, signal.SIGKILL)
    reported += process.stdout.read().split()
    process.wait()
    with open_store(store_url) as store:
        measured = store.load("latest").measurements
    assert len(measured) == 80
    kept = {m.device for m in measured if is_final(m)}
    assert set(reported) <= kept
    assert all(m.failure == TO_DO for m in measured if m.device not in kept)


def test_another_board_of_the_same_name_is_not_measured() -> None:
    """Of pi4 one result of two is there; of local nothing is missing."""
    run = builders.run(
        ["float", "int8"], ["local", "pi4"], replace={("pi4", "int8"): builders.failed("int8")}
    )
    kinds = {"local": "desktop", "pi4": "raspberry-pi-4"}
    then = {
        name: Device(name=name, profile=kind, host_keys=("ssh-ed25519 AAAA", "ssh-rsa BBBB"))
        for name, kind in kinds.items()
    }
    targets = [
        Target(device=one, profile=config.load_profile(one.profile)) for one in then.values()
    ]
    made = plan.make(model="", data=None, recipes=(), targets=targets, settings=JobSettings())
    document = json.dumps(codec.to_json(made))

    def resumed(name: str, run: Run = run, **changed: Any) -> Device:
        now = then | {name: dataclasses.replace(then[name], **changed)}
        found = measuring.journaled(document, run, now).targets
        return next(one.device for one in found if one.device.name == name)

    def refused(name: str, run: Run = run, **changed: Any) -> str:
        with pytest.raises(EdgepackError) as caught:
            resumed(name, run, **changed)
        assert caught.value.code == "EP402" and "bench fashion.pack" in caught.value.hint
        return caught.value.what

    assert "another host key" in refused("pi4", host_keys=("ssh-ed25519 CCCC",))
    assert "another profile" in refused("pi4", profile="jetson-nano")
    assert resumed("pi4", host="192.0.2.7", host_keys=("ssh-rsa BBBB",)).host == "192.0.2.7"
    assert resumed("local", profile="jetson-nano"), "nothing of it is to be measured"
    nothing = tuple(
        builders.failed(one.variant) if one.device == "pi4" else one for one in run.measurements
    )
    empty = dataclasses.replace(run, measurements=nothing)
    assert resumed("pi4", empty, host_keys=("ssh-ed25519 CCCC",)), "set up anew, nothing measured"
    assert "another profile" in refused("pi4", empty, profile="jetson-nano")
