"""The store with killed writers, lost servers, damaged content and places that cannot be opened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack import config
from edgepack.errors import EdgepackError
from edgepack.store import Store, open_store
from edgepack.store.samples import pack, unpack
from tests.builders import numbered
from tests.postgres import Cluster, sql

ROOT = Path(__file__).parents[2]


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_a_damaged_blob_is_a_value_error_and_nothing_else(data: bytes) -> None:
    good = pack(((1, 2, 3), (4,)))
    for blob in (data, good[: len(data) % len(good)], good[:3] + data[:4] + good[7:]):
        try:
            unpack(blob)
        except ValueError:
            continue


def test_what_cannot_be_opened_is_ep602(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database at all, but long enough to look at" * 20)
    (tmp_path / "file").write_text("")
    for bad in (
        f"sqlite:///{text}",
        f"sqlite:///{tmp_path / 'file' / 'runs.db'}",
        f"sqlite:///{tmp_path}",
        "sqlite://",
        "no url",
        "nosuchdb://x/y",
    ):
        with pytest.raises(EdgepackError) as caught:
            open_store(bad)
        assert caught.value.code == "EP602", bad


def test_a_damaged_run_is_told_and_the_others_are_read(store_url: str, store: Store) -> None:
    store.save(numbered(1))
    store.save(numbered(2))
    sql(store_url, "UPDATE measurements SET samples = :bad WHERE run_id LIKE '%02-%'", bad=b"0")
    with pytest.raises(EdgepackError) as caught:
        store.load("latest")
    assert caught.value.code == "EP602"
    assert store.load("latest~1") == numbered(1)


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'runs.db'}")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


SAVER = """
import sys
from edgepack.store import open_store
from tests.builders import numbered
with open_store(sys.argv[1]) as store:
    print("open", flush=True)
    for second in range(60):
        run = numbered(second)
        store.save(run)
        print(run.run_id, flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_kill_9_while_saving_loses_nothing_that_was_reported(store_url: str, attempt: int) -> None:
    rng = random.Random(attempt)
    child = subprocess.Popen(
        [sys.executable, "-c", SAVER, store_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout.readline() == "open\n"
    wanted = rng.randrange(1, 12)
    reported = [child.stdout.readline().strip() for _ in range(wanted)]
    threading.Event().wait(rng.random() * 0.02)  # anywhere within a save
    child.send_signal(signal.SIGKILL)
    reported += child.stdout.read().split()
    child.wait()
    child.stdout.close()
    with open_store(store_url) as store:
        kept = {summary.run_id for summary in store.list(100)}
        assert set(reported) <= kept
        assert len(kept) <= len(reported) + 1
        for run_id in kept:
            assert store.load(run_id) == numbered(int(run_id[13:15]))


WRITER = """
import sys
from edgepack.store import open_store
from tests.builders import numbered
number = int(sys.argv[2])
with open_store(sys.argv[1]) as store:
    for second in range(number * 10, number * 10 + 5):
        store.save(numbered(second))
"""


def test_writers_at_once_from_an_empty_start_lose_nothing(store_url: str) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store_url, str(number)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for number in range(3)
    ]
    assert [child.wait() for child in children] == [0] * 3
    with open_store(store_url) as store:
        assert len(store.list(100)) == 15


def test_blobs_are_kept_by_content_and_checked(store: Store) -> None:
    name = store.blobs.put(b"weights")
    assert store.blobs.get(name) == b"weights"
    assert store.blobs.put(b"weights") == name
    store.blobs.path(name).write_bytes(b"weighty")
    assert store.blobs.get(name) is None
    assert store.blobs.get("0" * 64) is None
    assert not list(store.blobs.root.rglob("*.part"))
    with pytest.raises(ValueError, match="SHA-256"):
        store.blobs.path("../../etc/passwd")


def test_a_lost_server_is_told_and_nothing_is_half_saved(cluster: Cluster) -> None:
    with open_store(cluster.database()) as store:
        store.save(numbered(1))
        cluster.stop("immediate")
        try:
            with pytest.raises(EdgepackError) as caught:
                store.save(numbered(2))
        finally:
            cluster.start()
        assert caught.value.code == "EP602"
        store.save(numbered(3))
        assert [run.run_id[13:15] for run in store.list()] == ["03", "01"]
        assert store.load("latest~1") == numbered(1)


@pytest.mark.parametrize("wrong", ["not-it", "p@ss word/&:%", "x" * 40])
def test_a_password_is_never_shown(cluster: Cluster, wrong: str) -> None:
    for url in (
        cluster.url("postgres", wrong),
        f"postgresql+psycopg://edgepack:{wrong}@127.0.0.1:{cluster.port}/postgres",
        f"postgresql+psycopg://edgepack@127.0.0.1:{cluster.port}/postgres?password={wrong}",
        f"postgresql+psycopg://edgepack:{wrong}@127.0.0.1:nonsense/postgres",
        f"mysql://edgepack:{wrong}@127.0.0.1/x",
    ):
        with pytest.raises(EdgepackError) as caught:
            open_store(url)
        shown = "".join(traceback.format_exception(caught.value.__class__, caught.value, None))
        for told in (str(caught.value), shown, config.without_password(url)):
            assert wrong not in told
            assert quote(wrong, safe="") not in told
        assert caught.value.code == "EP602"
