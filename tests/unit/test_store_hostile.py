"""Whatever a device says is kept as it is, or refused with a code."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.analysis import trends
from edgepack.errors import EdgepackError
from edgepack.model import Quality, RuntimeSpec
from edgepack.report import trend
from edgepack.store import Store, open_store
from tests import builders, documents
from tests.builders import numbered
from tests.unit.test_terminal import clean


def test_texts_of_a_device_that_no_database_takes_are_kept_in_the_document(store: Store) -> None:
    odd = builders.measurement("int8", runtime=RuntimeSpec(name="a\0b\ud800", version="';--"))
    run = builders.run(["int8"], ["local"], replace={("local", "int8"): odd})
    store.save(run)
    assert store.load("latest") == run


def test_a_quality_that_is_not_a_number_does_not_stop_the_saving(store: Store) -> None:
    odd = builders.measurement("int8", quality=Quality(metric="mae", value=float("nan"), n=3))
    store.save(builders.run(["int8"], ["local"], replace={("local", "int8"): odd}))
    assert store.load("latest").measurements[0].quality.value != 0


HOSTILE_TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),
    st.sampled_from(["\0", "\ud800", "'; DROP TABLE runs; --", "\x1b]0;x\x07", "%s{}", "=1+1"]),
    st.integers(1, 3000).map(lambda n: "é\U0001f680" * n),
)
# A key that is no Unicode, and an infinite number in an environment, have no JSON: both are
# replaced (U+FFFD, null).
KEYS = HOSTILE_TEXTS.map(lambda text: text.encode("utf-8", "replace").decode())
FINITE = st.floats(allow_nan=False, allow_infinity=False)
HOSTILE_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | HOSTILE_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """One store for all examples of a property: each removes what it kept."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shared') / 'runs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("cluster").database()
    with open_store(url, blobs=tmp_path_factory.mktemp("blobs")) as opened:
        yield opened


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_a_device_says_is_kept_as_it_is_or_refused(shared_store: Store, data) -> None:
    """Round-tripped, or refused with a code: never a traceback, never half saved."""
    for left in shared_store.list():
        shared_store.remove(left.run_id)
    texts = [data.draw(HOSTILE_TEXTS) for _ in range(8)]
    numbers = [data.draw(st.integers(-(2**70), 2**70) | st.integers(0, 100)) for _ in range(4)]
    environment = data.draw(st.dictionaries(KEYS, HOSTILE_VALUES, max_size=3))
    value = data.draw(st.floats(allow_nan=False))
    measured = builders.measurement(
        texts[0],
        texts[1],
        rounds=((numbers[0], 5), ()),
        load_ns=numbers[1],
        threads=numbers[2] % 100 or numbers[2],
        runtime=RuntimeSpec(name=texts[2], version=texts[3]),
        quality=Quality(metric=texts[4], value=value, n=3),
        environment=environment | {"governor": data.draw(HOSTILE_VALUES)},
        inputs_sha256=texts[5],
        flags=(texts[6],),
    )
    run = dataclasses.replace(
        numbered(1, note=texts[7], git_commit=texts[0], git_branch=texts[1]),
        measurements=(measured,),
        package_path=texts[2],
        started_at=texts[3],
    )
    try:
        shared_store.save(run)
    except EdgepackError as error:
        assert error.code == "EP610"
        assert shared_store.list() == []
        return
    assert shared_store.load("latest") == run
    found = shared_store.list()[0]
    assert (found.measured, found.total) == (1, 1)
    told = shared_store.history(5, variant=texts[0], device=texts[1])
    assert [point.run_id for _, point in told] == [run.run_id]
    for line in trend.lines(trends.series(told)):
        assert clean(line) and len(line) < 200
    documents.check(json.loads(json.dumps(trend.document(trends.series(told)), allow_nan=False)))


@given(names=st.lists(HOSTILE_TEXTS, min_size=2, max_size=2), note=HOSTILE_TEXTS)
@settings(max_examples=10, deadline=None)
def test_a_run_under_way_takes_what_a_device_says(
    shared_store: Store, names: list[str], note: str
) -> None:
    for left in shared_store.list():
        shared_store.remove(left.run_id)
    lost, measured = builders.failed(*names, what=note), builders.measurement(*names)
    shared_store.save(dataclasses.replace(numbered(1), measurements=(lost,)), journal="{}")
    shared_store.record(numbered(1).run_id, [measured])
    shared_store.note("latest", note)
    kept = shared_store.load("latest")
    assert (kept.measurements, kept.note) == ((measured,), note)


def test_ten_megabytes_of_a_name_are_kept(store: Store) -> None:
    name = "x" * 10_000_000
    long = builders.measurement(name, name, profile=name)
    run = dataclasses.replace(numbered(1), measurements=(long,), note=name)
    store.save(run)
    assert store.load("latest") == run
    assert len(store.list()[0].variants[0]) < 200
    store.save(dataclasses.replace(numbered(2), measurements=(long,)), journal="{}")
    store.record(numbered(2).run_id, [long])


@pytest.mark.parametrize(
    "bad",
    [
        {"rounds": ((1, -1),)},
        {"rounds": ((2**63,),)},
        {"load_ns": -1},
        {"threads": 2**31},
        {"peak_rss_bytes": -5},
        {"environment": {"x": 10**5000}},
        {"environment": {"x": builders.nested(3000)}},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_what_cannot_have_been_measured_is_ep610(store: Store, bad) -> None:
    run = dataclasses.replace(numbered(1), measurements=(builders.measurement("int8", **bad),))
    with pytest.raises(EdgepackError) as caught:
        store.save(run)
    assert caught.value.code == "EP610"
    assert store.list() == []


@given(ref=HOSTILE_TEXTS)
@settings(max_examples=30, deadline=None)
def test_any_text_that_names_no_run_is_ep601(shared_store: Store, ref: str) -> None:
    for asked in (f"x{ref}", f"branch:{ref}x", f"latest{ref}~9"):
        with pytest.raises(EdgepackError) as caught:
            shared_store.load(asked)
        assert caught.value.code == "EP601"
        str(caught.value).encode()
