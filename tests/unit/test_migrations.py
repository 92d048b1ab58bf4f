"""Stores of every older version, as the edgepack of that version made them, are upgraded."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from edgepack.errors import EdgepackError
from edgepack.store import Store, migrations, open_store
from tests import builders

STORES = Path(__file__).parents[1] / "data" / "stores"
OLD = range(1, migrations.NEWEST)


def lay(url: str, version: int) -> None:
    """Fill an empty database with the dump of an old store."""
    kind = url.partition(":")[0].partition("+")[0]
    dump = (STORES / f"v{version}.{kind}.sql").read_text()
    if kind == "sqlite":
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True)
        raw = sqlite3.connect(file)
        raw.executescript(dump)
        raw.close()
        return
    engine = create_engine(url)
    connection: Any = engine.raw_connection()
    connection.execute(dump.replace("public.", ""))
    connection.commit()
    connection.close()
    engine.dispose()


def described(url: str) -> dict[str, Any]:
    """Tables, columns with their types and defaults, keys and indexes."""
    engine = create_engine(url)
    found = inspect(engine)
    shape = {
        table: (
            {
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            },
            {(index["name"], tuple(index["column_names"])) for index in found.get_indexes(table)},
            found.get_pk_constraint(table)["constrained_columns"],
            [(key["referred_table"], key["options"]) for key in found.get_foreign_keys(table)],
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return shape


def version(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = migrations.version_of(connection)
    engine.dispose()
    return found


@pytest.mark.parametrize("old", OLD)
def test_an_old_store_is_upgraded_in_place(store_url: str, old: int) -> None:
    lay(store_url, old)
    assert version(store_url) == old
    with open_store(store_url) as store:
        run = store.load("latest")
        assert (run.note, run.tags, run.git_commit) == (f"of version {old}", ("golden",), "0f" * 20)
        assert [variant.name for variant in run.package.variants] == ["float", "int8"]
        assert [len(m.rounds) for m in run.measurements] == [3, 3]
        if old > 1:
            assert store.journal("golden") == '{"plan": 2}'
        store.save(builders.run(run_id="30001122T150405-ab12cd", git_branch="main"))
        assert store.load("branch:main").run_id == "30001122T150405-ab12cd"
        store.note("golden", "still here")
        assert store.load("golden").package_path == "fashion.pack"
    assert version(store_url) == migrations.NEWEST


@pytest.mark.parametrize("old", OLD)
def test_an_upgraded_store_is_shaped_as_a_new_one(
    store_url: str, old: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lay(store_url, old)
    open_store(store_url).close()
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    if not store_url.startswith("sqlite"):
        fresh = request.getfixturevalue("cluster").database()
    open_store(fresh).close()
    assert described(store_url) == described(fresh)


def test_what_trends_need_is_filled_in(store_url: str) -> None:
    lay(store_url, 1)
    open_store(store_url).close()
    engine = create_engine(store_url)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT bytes, governor, inputs FROM measurements ORDER BY position")
        ).fetchall()
    engine.dispose()
    inputs = builders.digest("inputs")
    assert found == [(381_204, "performance", inputs), (104_352, "performance", inputs)]


@pytest.mark.parametrize("old", OLD)
def test_an_upgrade_that_fails_leaves_the_old_store_whole(
    store_url: str, old: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(store_url, old)
    before = described(store_url)

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "_facts", power_cut)
    with pytest.raises(KeyboardInterrupt):
        open_store(store_url)
    assert (version(store_url), described(store_url)) == (old, before)
    monkeypatch.undo()
    with open_store(store_url) as store:
        assert store.load("latest").note == f"of version {old}"


def test_a_newer_store_is_refused_and_left_alone(store_url: str) -> None:
    open_store(store_url).close()
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    before = described(store_url)
    with pytest.raises(EdgepackError, match="99") as caught:
        open_store(store_url)
    assert caught.value.code == "EP602"
    assert "Upgrade" in caught.value.hint
    assert described(store_url) == before


def test_two_that_upgrade_at_once_make_one_store(store_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    lay(store_url, 1)

    def upgraded(_: int) -> str:
        with open_store(store_url) as store:
            return named(store)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgraded, range(4))) == {"of version 1"}


def named(store: Store) -> str:
    return store.load("latest").note
