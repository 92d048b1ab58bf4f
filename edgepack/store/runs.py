"""The store: saving, loading, listing, tagging and removing runs."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from edgepack import codec
from edgepack.errors import EdgepackError
from edgepack.model import Measurement, Run, Transfer
from edgepack.store import dialect, limits, reading, refs, rows, saving
from edgepack.store import journal as journals
from edgepack.store.blobs import Blobs
from edgepack.store.reading import RunSummary
from edgepack.store.schema import packages, runs, tags

if TYPE_CHECKING:
    from edgepack.analysis.trends import Conditions, Point


class Store:
    """Runs in a database. One transaction a call; use it as a context manager.

    Every method raises EdgepackError EP602 when the database fails (a full disk, a lock held
    for more than half a minute, a lost server); then nothing of the call was kept.

    Attributes:
        blobs: files named by their content, beside the database.
    """

    def __init__(self, engine: Engine, blobs: Blobs) -> None:
        self._engine = engine
        self.blobs = blobs

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def save(self, run: Run, *, journal: str | None = None) -> None:
        """Keep a run. When this returns it is on the disk, whatever happens next.

        journal: how the run is to be carried out, for a run that is only beginning; its
        measurements say that they are still to be made, and `record` replaces them.

        Raises:
            EdgepackError: EP105, a run of that id is there already, or a tag cannot be one;
                EP610, it holds what no measuring can have made.
        """
        self.save_all([run], journal=journal)

    def save_all(self, runs: Sequence[Run], *, journal: str | None = None) -> None:
        """Keep these runs, all of them or none; as `save` in everything else."""
        # Packed before the transaction begins: other writers wait no longer than the writing.
        packed = [saving.pack(run, journal) for run in runs]
        try:
            with self._transaction(writes=True) as connection:
                dialect.lock_shared(connection)
                for rows in packed:
                    saving.write(connection, rows)
        except IntegrityError as error:  # two that save the same run at once
            raise saving.is_there(", ".join(run.run_id for run in runs)) from error

    def record(
        self, run_id: str, measured: Sequence[Measurement], transfer: Transfer | None = None
    ) -> None:
        """Keep what one device measured for a run that was saved with a journal.

        When this returns it is on the disk. A good result that the run has already stays.

        Raises:
            EdgepackError: EP601, the run is gone; EP610, as `save`.
            KeyError: the run has no such variant on such a device.
        """
        for found in measured:
            limits.check_measurement(found)
        with self._transaction(writes=True) as connection:
            journals.lock(connection, run_id)
            journals.record(connection, run_id, measured)
            if transfer is not None:
                journals.record_transfer(connection, run_id, transfer)

    def journal(self, ref: str) -> str:
        """What `save` was given as the journal of a run. EP601 when there is none."""
        with self._transaction() as connection:
            return journals.document(connection, refs.resolve(connection, ref))

    def load(self, ref: str) -> Run:
        """The run that `ref` names ("latest", "latest~1", id, tag, beginning of an id).

        Raises:
            EdgepackError: EP601, no run or more than one is named so; EP602, it is damaged.
        """
        with self._transaction() as connection:
            run_id = refs.resolve(connection, ref)
            try:
                return reading.load(connection, run_id)
            except ValueError as error:
                raise EdgepackError(
                    "EP602",
                    f"run {run_id} cannot be read: {error}",
                    hint="Measure again, or remove it: edgepack runs rm.",
                ) from error

    def holds(self, run: Run) -> bool:
        """Whether just this run is stored; its tags may have changed since.

        Raises:
            EdgepackError: EP105, the run of that id is another one; EP610, as `save`.
        """
        limits.check(run)
        with self._transaction() as connection:
            if connection.scalar(select(runs.c.run_id).where(runs.c.run_id == run.run_id)) is None:
                return False
        # As documents: a quality that is no number is not even equal to itself.
        mine, theirs = (
            json.dumps(codec.to_json(replace(each, tags=(), note="")))
            for each in (self.load(run.run_id), run)
        )
        if mine != theirs:
            raise saving.is_there(run.run_id)
        return True

    def list(self, limit: int = 20) -> builtins.list[RunSummary]:
        """The newest runs, newest first."""
        with self._transaction() as connection:
            joined = runs.join(packages, runs.c.package_digest == packages.c.digest)
            wanted = select(runs, packages.c.source_name).select_from(joined)
            found = connection.execute(wanted.order_by(runs.c.run_id.desc()).limit(limit))
            return reading.summaries(connection, [dict(row._mapping) for row in found])

    def history(
        self, limit: int, *, variant: str | None = None, device: str | None = None
    ) -> builtins.list[tuple[Conditions, Point]]:
        """What the newest runs measured, oldest first, for `analysis.trends`.

        limit: of runs that have any such variant and device.
        """
        from edgepack.store import history  # of use to no other call

        with self._transaction() as connection:
            return builtins.list(history.measured(connection, limit, variant, device))

    def tag(self, ref: str, name: str) -> None:
        """Give a run one more name; other runs may bear it too, and the newest answers to it.

        Raises:
            EdgepackError: EP601, no such run; EP105, the name cannot be a tag.
        """
        refs.check_tag(name)
        with self._transaction(writes=True) as connection:
            dialect.lock_shared(connection)
            run_id = refs.resolve(connection, ref)
            dialect.insert_if_new(connection, tags, rows.tag_row(run_id, name))

    def note(self, ref: str, text: str) -> str:
        """Replace the note of a run; returns its id. EP601."""
        with self._transaction(writes=True) as connection:
            dialect.lock_shared(connection)
            run_id = refs.resolve(connection, ref)
            mine = runs.c.run_id == run_id
            found = connection.execute(select(runs).where(mine).with_for_update()).one()
            own = reading.own_fields(found) | {"note": text}
            connection.execute(runs.update().where(mine).values(rows.own_columns(own)))
            return run_id

    def remove(self, ref: str) -> str:
        """Remove a run and its samples; returns its id. EP601."""
        with self._transaction(writes=True) as connection:
            dialect.lock_alone(connection)
            run_id = refs.resolve(connection, ref)
            connection.execute(runs.delete().where(runs.c.run_id == run_id))
            used = select(runs.c.package_digest)
            connection.execute(packages.delete().where(packages.c.digest.not_in(used)))
            return run_id

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                chosen = connection.execution_options(**self._options(writes))
                with chosen.begin():
                    yield chosen
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise EdgepackError(
                "EP602",
                f"the store failed: {dialect.reason(error, self._engine.url)}",
                where=dialect.shown(self._engine.url),
                hint="Look at its disk or server, then try again; nothing was half saved.",
            ) from error

    def _options(self, writes: bool) -> dict[str, Any]:
        # A reader sees one moment of the store, however many statements it takes; SQLite's
        # transactions are so by themselves.
        frozen = not writes and dialect.is_postgresql(self._engine)
        isolation = {"isolation_level": "REPEATABLE READ"} if frozen else {}
        return {"edgepack_writes": writes, **isolation}
