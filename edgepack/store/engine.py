"""Opening a store: the connection, its durability, and its schema's version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from edgepack import private
from edgepack.errors import EdgepackError
from edgepack.store import dialect, migrations
from edgepack.store.blobs import Blobs
from edgepack.store.runs import Store

#: How long a writer waits for another one, in milliseconds.
BUSY_MS = 30_000
#: How long to wait for a server to answer, in seconds.
CONNECT_S = 10


def open_store(url: str, *, blobs: Path | None = None) -> Store:
    """Open the store at a database URL, and make or migrate it as needed.

    `sqlite:///path` is a file, made with its folders; `postgresql+psycopg://…` a server.
    `blobs` is the folder of blobs; by default it lies beside the SQLite file.

    Raises:
        EdgepackError: EP602, it cannot be opened, is not a store, or is of a newer edgepack.
    """
    parsed = _parse(url)
    try:
        engine = _engine(parsed)
        _prepare(engine, parsed)
    except (ImportError, NoSuchModuleError) as error:
        raise _unusable(
            parsed,
            f"the store needs a driver that is not installed: {dialect.reason(error, parsed)}",
            hint="For postgresql+psycopg://…: pip install 'edgepack[postgresql]'.",
        ) from error
    except (DBAPIError, sqlite3.Error, OSError, ValueError) as error:
        raise _unusable(
            parsed, f"the store cannot be opened: {dialect.reason(error, parsed)}"
        ) from error
    return Store(engine, Blobs(blobs or _blobs_beside(parsed)))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise EdgepackError(
            "EP602",
            "the store's URL is not one",
            hint="Use sqlite:////absolute/path.db or postgresql+psycopg://user@host/database.",
        ) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise _unusable(parsed, f"'{parsed.get_backend_name()}' is no database of a store")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise _unusable(parsed, "a store in memory would lose every run")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        # hide_parameters: an error never quotes what was to be stored.
        arguments = {"connect_timeout": CONNECT_S} if url.get_driver_name() == "psycopg" else {}
        return create_engine(url, pool_pre_ping=True, connect_args=arguments, hide_parameters=True)
    file = Path(url.database or "")
    private.folder(file.parent)
    private.touch(file)  # SQLite gives its journals the mode of the file
    engine = create_engine(url)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    # The driver's own idea of when a transaction begins is switched off; `_begin` says it.
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {BUSY_MS}", "foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading from a reader's fails without waiting.
    writes = connection.get_execution_options().get("edgepack_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare(engine: Engine, url: URL) -> None:
    """Migrate where needed, under a lock, so that two first uses at once make one store."""
    if _is_newest(engine, url):
        return
    if dialect.is_postgresql(engine):
        _migrate(engine, url)
        return
    from filelock import FileLock

    file = Path(url.database or "")
    lock = file.with_name(f"{file.name}.lock")
    with FileLock(lock, timeout=BUSY_MS / 1000, mode=private.FILE):
        raw = engine.raw_connection()
        try:
            # Outside a transaction, and once: the mode is a property of the file.
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()
        _migrate(engine, url)


def _is_newest(engine: Engine, url: URL) -> bool:
    """Whether there is nothing to migrate: told without waiting for any writer."""
    with engine.connect() as connection:
        reading = connection.execution_options(edgepack_writes=False)
        with reading.begin():
            return _known_version(reading, url) == migrations.NEWEST


def _migrate(engine: Engine, url: URL) -> None:
    with engine.begin() as connection:
        dialect.lock_alone(connection)
        _known_version(connection, url)
        migrations.migrate(connection)


def _known_version(connection: Connection, url: URL) -> int:
    found = migrations.version_of(connection)
    if found > migrations.NEWEST:
        raise _unusable(
            url,
            f"the store is of version {found}, this edgepack knows {migrations.NEWEST}",
            hint="Upgrade edgepack, or name another store in EDGEPACK_STORE.",
        )
    return found


def _blobs_beside(url: URL) -> Path:
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").parent / "blobs"
    from edgepack import config

    return config.data_dir() / "blobs"


def _unusable(
    url: URL, what: str, hint: str = "Check its path or URL and the rights to it."
) -> EdgepackError:
    return EdgepackError("EP602", what, where=dialect.shown(url), hint=hint)
