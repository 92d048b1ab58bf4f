"""A search survives kill -9: no trial is lost, none is done twice, and it goes the same way."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sqlite3

import optuna
import pytest

from edgepack.errors import EdgepackError
from edgepack.model import Device, PassSpec, Profile, Recipe
from edgepack.plan import Target
from edgepack.searching import history
from edgepack.searching.space import Space
from edgepack.searching.stages import Course
from edgepack.searching.study import Study
from edgepack.searching.values import Choice, Judge, Request, Tried

SPACE = Space(
    schemes=("float", "int8"),
    threads=(0,),
    runtimes=("",),
    importances=("l2", "l1"),
    epochs=(0, 1, 3),
)
TRIALS = 18


def request():
    profile = Profile(name="desktop", title="", arch=("x86_64",), runtimes=())
    target = Target(device=Device(name="d", profile="desktop"), profile=profile)
    return Request(model="m.keras", data=None, targets=(target,), budgets=(), trials=TRIALS)


def evaluated(number, stage, bracket, choice):
    factor = 3.0 if choice.scheme == "int8" else 1.0
    loss = max(0, 50 - choice.percent) / 100 + 0.2 / (1 + choice.epochs) * (choice.percent < 100)
    return Tried(
        number=number,
        stage=stage,
        bracket=bracket,
        choice=choice,
        recipe=Recipe(name=f"t{number:03d}", passes=(PassSpec(name="convert.float"),)),
        sha256="0" * 64,
        bytes=choice.percent,
        loss=loss,
        latency_us={"d": choice.percent / factor},
        speedup={"d": 100 * factor / choice.percent},
        over={"d.*.quality_drop": loss - 0.02},
    )


def play(home, name, kill_at):
    """Search on until the end, or be killed at the n-th write."""
    os.environ["EDGEPACK_SEARCHES"] = f"sqlite:///{home}/searches.db"
    left = [kill_at]

    def dies(method):
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return wrapped

    Study.enqueue, Study._begun, Study.tell = map(dies, (Study.enqueue, Study._begun, Study.tell))
    study = Study.open(name)
    course = Course(space=SPACE, seed=0, speed=True, trials=TRIALS)
    study.enqueue_all(course.rest(study.tried(), study.begun()))
    asked = study.ask(SPACE)
    while True:
        places = study.stages()
        for number, choice in asked:
            study.tell(evaluated(number, *places[number], choice))
        step = course.due(study.tried(), study.begun())
        if step is None:
            return
        study.enqueue_all(step)
        asked = study.ask(SPACE)


@pytest.fixture(scope="module", autouse=True)
def imported():
    """What TPE imports is imported once, and not by every child anew."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)


def in_child(home, name, kill_at=0):
    child = multiprocessing.get_context("fork").Process(target=play, args=(home, name, kill_at))
    child.start()
    child.join(120)
    return child.exitcode


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_SEARCHES", f"sqlite:///{tmp_path}/searches.db")
    return tmp_path


def test_killed_and_resumed_is_as_never_killed(stored):
    Study.create("whole", request())
    Study.create("broken", request())
    assert in_child(stored, "whole") == 0
    # While enqueueing, asking and telling, in the first generation and in later ones.
    kills = 0
    for kill_at in (1, 6, 11, 9, 17):
        kills += in_child(stored, "broken", kill_at) == -signal.SIGKILL
    assert kills == 5
    assert in_child(stored, "broken") == 0
    whole, broken = Study.open("whole").tried(), Study.open("broken").tried()
    assert len(whole) == TRIALS
    assert broken == whole


def test_a_trial_of_a_living_process_is_left_to_it(stored):
    study = Study.create("shared", request())
    study.enqueue("source", 0, {"scheme": "int8"})
    assert len(study.ask(SPACE)) == 1
    assert Study.open("shared").ask(SPACE) == []


def test_studies_are_found_by_their_names_beginnings(stored):
    for name in ("s1-aa", "s1-ab", "s2-cc"):
        Study.create(name, request())
    assert Study.open("s2").name == "s2-cc"
    assert Study.open("latest").name == "s2-cc"
    for ref in ("s1", "s3"):
        with pytest.raises(EdgepackError) as caught:
            Study.open(ref)
        assert caught.value.code == "EP601"
    with pytest.raises(EdgepackError) as caught:
        Study.open("s2").recipe(0)
    assert caught.value.code == "EP102"


def test_more_trials_and_time_can_be_given_later(stored):
    Study.create("short", request())
    Study.open("short").extend(trials=99, seconds=60.0)
    again = Study.open("short").request
    assert (again.trials, again.seconds, again.model) == (99, 60.0, "m.keras")
    Study.open("short").extend(trials=None, seconds=None)
    assert Study.open("short").request == again


def test_a_search_that_goes_on_has_no_answer_until_its_next_end(stored):
    answer = {"status": "infeasible", "devices": {}, "lost": {}, "runs": []}
    study = Study.create("more", request())
    study.enqueue("source", 0, {"scheme": "int8"})
    study.conclude(answer)
    Study.open("more").extend(trials=99, seconds=None)
    assert Study.open("more").concluded == answer, "nothing is newer yet"
    [(number, choice)] = study.ask(SPACE)  # left over by the end of the time
    assert Study.open("more").concluded is None
    study.tell(evaluated(number, "source", 0, choice))
    study.conclude(answer)
    Study.open("more").enqueue("source", 0, {"scheme": "float"})
    assert Study.open("more").concluded is None
    found = history.of(Study.open("more"))
    assert found.status == "unfinished" and "--resume more" in found.headline


def test_a_planned_search_is_stored_with_the_first_thing_that_is_noted(stored):
    study = Study.planned("new", request())
    assert (study.name, study.seconds_used, study.is_stored) == ("new", 0.0, False)
    assert not (stored / "searches.db").exists()
    study.judged_by(Judge(metric="accuracy", source=0.9, samples=10))
    assert study.is_stored
    assert Study.open("latest").request == request()
    assert Study.open("latest").judge == study.judge


def test_an_unusable_storage_is_an_error_of_its_own(monkeypatch):
    monkeypatch.setenv("EDGEPACK_SEARCHES", "nonsense://x")
    with pytest.raises(EdgepackError) as caught:
        Study.open("latest")
    assert caught.value.code == "EP602"


def everything(name):
    """All that the commands read of a search, and that one which goes on writes."""
    study = Study.open(name)
    history.page(study)
    assert study.recipe(0)
    study.extend(trials=99, seconds=None)
    study.enqueue("source", 0, {"scheme": "int8"})
    study.ask(SPACE)
    study.spent(1.0)


@pytest.fixture
def finished(stored):
    study = Study.create("whole", request())
    for _ in range(12):
        study.enqueue("source", 0, {"scheme": "int8"})
    for number, choice in study.ask(SPACE):
        study.tell(evaluated(number, "source", 0, choice))
    study.judged_by(Judge(metric="accuracy", source=0.9, samples=10))
    study.conclude({"status": "infeasible", "devices": {}, "lost": {}, "runs": []})
    everything("whole")
    return stored / "searches.db"


def test_damaged_pages_of_the_storage_are_one_coded_error(finished):
    sound, page, told = finished.read_bytes(), 4096, 0
    for seed in range(40):
        luck = random.Random(seed)
        pages = bytearray(sound)
        for place in luck.sample(range(1, len(sound) // page), 8):
            pages[place * page : place * page + page] = luck.randbytes(page)
        finished.write_bytes(pages)
        try:
            everything("latest")
        except EdgepackError as error:
            assert error.code in ("EP602", "EP601", "EP102"), "or what it names is gone"
            told += error.code == "EP602"
    assert told > 10


@pytest.mark.parametrize("name", ["request", "judge", "concluded", "seconds"])
@pytest.mark.parametrize("value", ['{"model": 3}', '"x"', "{", "[1]"])
def test_a_damaged_record_of_a_search_is_one_coded_error(finished, name, value):
    with contextlib.closing(sqlite3.connect(finished)) as database, database:
        changed = database.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (value, name)
        )
        assert changed.rowcount == 1
    with pytest.raises(EdgepackError) as caught:
        everything("latest")
    assert caught.value.code == "EP602"
    assert str(finished) in caught.value.where
    assert "Traceback" not in str(caught.value) and len(caught.value.what) < 400


def test_what_is_no_damage_of_the_storage_stays_a_bug(finished):
    with pytest.raises(KeyError):
        Study.open("whole").tell(evaluated(99, "source", 0, Choice()))
