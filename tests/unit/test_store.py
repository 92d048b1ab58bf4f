"""The store keeps what it said it kept."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from edgepack.errors import EdgepackError
from edgepack.store import Store, open_store
from edgepack.store.samples import pack, unpack
from tests import builders
from tests.builders import numbered
from tests.postgres import sql


def test_a_run_comes_back_equal(store: Store) -> None:
    run = builders.run(
        replace={("pi4", "int8"): builders.failed("int8", what="gone\x1b[31m\0\ud800")},
        tags=("baseline", "v1"),
        git_commit="0f" * 20,
        note="after the fan was mounted",
    )
    store.save(run)
    assert store.load("latest") == run
    assert store.load(run.run_id).measurements[0].rounds == run.measurements[0].rounds


@given(
    st.lists(
        st.lists(st.integers(min_value=0, max_value=2**64 - 1), max_size=20).map(tuple), max_size=20
    ).map(tuple)
)
def test_samples_survive_packing(rounds) -> None:
    assert unpack(pack(rounds)) == rounds


def test_names_of_runs(store: Store) -> None:
    runs = [numbered(second) for second in (1, 2, 3)]
    for run in runs:
        store.save(run)
    store.tag("latest~2", "golden")
    assert store.load("latest").run_id == runs[2].run_id
    assert store.load("latest~1").run_id == runs[1].run_id
    assert store.load("golden").run_id == runs[0].run_id
    assert store.load("20261122T150402").run_id == runs[1].run_id
    store.tag("latest", "golden")
    assert store.load("golden").run_id == runs[2].run_id, "a tag names the newest that bears it"
    assert store.load(runs[0].run_id).tags == ("golden",)
    store.tag("latest", "golden")  # again: nothing to do, no error


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("latest~3", "runs ls"),
        ("20261122T1504", "One of: 20261122T150403-ab12c3"),
        ("goldn", "Did you mean 'golden'?"),
        ("%", "runs ls"),
        ("_" * 10, "runs ls"),
        ("", "runs ls"),
        ("latest~99999999999999999999", "runs ls"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_ep601_with_a_hint(
    store: Store, ref: str, said: str
) -> None:
    for second in (1, 2, 3):
        store.save(numbered(second))
    store.tag("latest", "golden")
    with pytest.raises(EdgepackError) as caught:
        store.load(ref)
    assert caught.value.code == "EP601"
    assert said in caught.value.hint


def test_an_empty_store_says_how_to_fill_it(store: Store) -> None:
    with pytest.raises(EdgepackError, match="demo"):
        store.load("latest")
    assert store.list() == []


@pytest.mark.parametrize("name", ["", "latest", "latest~1", "a b", "x" * 101, "-x", "a\n"])
def test_names_that_could_be_mistaken_are_no_tags(store: Store, name: str) -> None:
    store.save(numbered(1))
    with pytest.raises(EdgepackError) as caught:
        store.tag("latest", name)
    assert caught.value.code == "EP105"


def test_lists_are_newest_first_and_limited(store: Store) -> None:
    for second in (1, 3, 2):
        store.save(numbered(second, note=f"note {second}"))
    found = store.list(2)
    assert [summary.note for summary in found] == ["note 3", "note 2"]
    assert (found[0].devices, found[0].variants) == (("local",), ("float", "int8"))
    assert (found[0].measured, found[0].total) == (2, 2)
    assert found[0].source_name == "fashion.keras"


def test_removing_takes_one_run_and_leaves_the_package_that_others_use(
    store: Store, store_url: str
) -> None:
    store.save(numbered(1))
    store.save(numbered(2))
    store.remove("latest")
    assert [summary.run_id for summary in store.list()] == [numbered(1).run_id]
    assert store.load("latest") == numbered(1)
    store.remove("latest")
    for table in ("runs", "measurements", "transfers", "tags", "packages"):
        assert sql(store_url, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_run_is_never_overwritten(store: Store) -> None:
    store.save(numbered(1))
    with pytest.raises(EdgepackError) as caught:
        store.save(dataclasses.replace(numbered(1), note="other"))
    assert caught.value.code == "EP105"
    assert store.load("latest").note == ""


def test_a_branchs_last_run(store: Store) -> None:
    for second, branch in enumerate(["main", "topic/x", "main", None]):
        store.save(numbered(second, git_branch=branch))
    assert store.load("branch:main").run_id == numbered(2).run_id
    assert store.load("branch:main~1").run_id == numbered(0).run_id
    assert store.load("branch:topic/x").git_branch == "topic/x"
    for ref, hint in (("branch:main~2", "runs ls"), ("branch:mian", "Did you mean 'main'?")):
        with pytest.raises(EdgepackError) as caught:
            store.load(ref)
        assert (caught.value.code, hint in caught.value.hint) == ("EP601", True)


def test_a_note_is_replaced_and_the_rest_stays(store: Store) -> None:
    store.save(numbered(1, note="old", git_branch="main"))
    new = "fan\0 mounted \ud800" + "!" * 5000
    assert store.note("latest", new) == numbered(1).run_id
    assert store.load("latest") == numbered(1, note=new, git_branch="main")
    assert len(store.list()[0].note) == 1000


def test_several_runs_are_kept_together_or_not_at_all(store: Store) -> None:
    store.save(numbered(2))
    with pytest.raises(EdgepackError) as caught:
        store.save_all([numbered(1), numbered(2), numbered(3)])
    assert caught.value.code == "EP105"
    assert [found.run_id for found in store.list()] == [numbered(2).run_id]
    store.save_all([numbered(1), numbered(3)])
    assert len(store.list()) == 3


def test_a_forged_package_does_not_take_the_place_of_another(store: Store) -> None:
    run = numbered(1)
    forged = dataclasses.replace(run.package, source_name="other.keras")
    store.save(dataclasses.replace(run, package=forged))
    with pytest.raises(EdgepackError) as caught:
        store.save(numbered(2))
    assert caught.value.code == "EP610"
    store.remove("latest")
    store.save(numbered(2))
    assert store.load("latest") == numbered(2)


def test_a_list_reads_an_index_and_no_measurement(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with open_store(url) as store:
        store.save_all([numbered(second) for second in range(30)])
        said: list[str] = []
        event.listen(
            store._engine, "before_cursor_execute", lambda *told: said.append(told[2]), named=False
        )
        store.list()
    (listing,) = [each for each in said if "FROM measurements" in each]
    values = listing.partition(" IN (")[2].count("?")
    plan = sqlite3.connect(tmp_path / "runs.db").execute(
        f"EXPLAIN QUERY PLAN {listing}", [numbered(n).run_id for n in range(values)]
    )
    assert "USING COVERING INDEX ix_measurements_listed" in str(plan.fetchall())
