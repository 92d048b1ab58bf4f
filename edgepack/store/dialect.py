"""What SQLite and PostgreSQL say differently.

SQLite has one writer at a time, which takes the lock when its transaction begins. On
PostgreSQL writers work side by side: savers share a lock that a remover takes alone, so that a
package is never taken away under the run that is just being stored with it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, text

from edgepack import config

# Any number that no other program of the database is likely to use for its own lock.
_LOCK = 0x65646765


def is_postgresql(owner: Connection | Engine) -> bool:
    """Whether the database is PostgreSQL."""
    return owner.dialect.name == "postgresql"


def lock_alone(connection: Connection) -> None:
    """Until the transaction ends, no other one of edgepack's writes."""
    if is_postgresql(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def lock_shared(connection: Connection) -> None:
    """Until the transaction ends, none that needs to be alone writes."""
    if is_postgresql(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LOCK})


def insert_if_new(connection: Connection, table: Any, row: dict[str, Any]) -> bool:
    """Insert a row unless one of its key is there, whoever else does the same at once.

    Returns whether it was inserted.
    """
    # Imported here: PostgreSQL's dialect brings all its drivers, a fifth of a command's start.
    insert: Any
    if is_postgresql(connection):
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert
    done = connection.execute(insert(table).values(row).on_conflict_do_nothing())
    return done.rowcount == 1


def shown(url: URL) -> str:
    """The store's URL as it may be shown."""
    return config.without_password(url.render_as_string(hide_password=True))


def reason(error: Exception, url: URL) -> str:
    """What the driver says, on one line and without the password, whatever it quotes."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    secrets = [url.password, *url.normalized_query.get("password", ())]
    for secret in filter(None, secrets):
        said = said.replace(str(secret), "***")
    return said
