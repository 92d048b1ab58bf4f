"""The study: Optuna's record of a search, which survives the process that writes it.

Trials are enqueued a generation at a time, each with its stage, and asked for before any of
them is run; so what the sampler knew when it chose does not depend on how fast devices are.
The sampler is seeded by the trial's number: a killed search, resumed, asks for the same.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepack import codec, config, private
from edgepack.errors import EdgepackError
from edgepack.model import Recipe
from edgepack.searching.space import Space, suggest
from edgepack.searching.stages import Step
from edgepack.searching.values import Choice, Judge, Request, Tried

OBJECTIVES = 3
"""What is made small: latency as a share of the float source's (geometric mean of the devices),
quality lost, and bytes."""
# Random before modelled: Optuna's default of 10 would be most of a short search.
_STARTUP = 8


def url() -> str:
    """Where searches are stored.

    `EDGEPACK_SEARCHES`; else the runs' database where that is PostgreSQL; else SQLite.
    """
    runs = os.environ.get("EDGEPACK_STORE", "")
    shared = runs if runs.startswith("postgresql") else ""
    beside = f"sqlite:///{config.data_dir() / 'searches.db'}"
    return os.environ.get("EDGEPACK_SEARCHES") or shared or beside


def _storage(address: str) -> Any:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if address.startswith("sqlite:///"):
            file = Path(address.removeprefix("sqlite:///"))
            private.folder(file.parent)
            private.touch(file)
        return optuna.storages.RDBStorage(address, engine_kwargs=_engine(address))
    except (SQLAlchemyError, ImportError, RuntimeError, OSError) as error:
        raise EdgepackError(
            "EP602",
            f"the searches cannot be opened: {_reason(error, address)}",
            where=config.without_password(address),
            hint="Check EDGEPACK_SEARCHES (or EDGEPACK_STORE): sqlite:////path.db or "
            "postgresql+psycopg://…, with edgepack[postgresql].",
        ) from error


def _reason(error: Exception, address: str) -> str:
    """What the driver says, without the password of the address."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from edgepack.store import dialect

    try:
        return dialect.reason(error, make_url(address))
    except ArgumentError:
        return "this is no database's URL"


def _engine(address: str) -> dict[str, Any]:
    # SQLite has one writer at a time: others wait rather than fail. A server may have been
    # restarted since the connection was last used, as a search takes long.
    if address.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    return {"pool_pre_ping": True}


_ANSWERED = {"status", "devices", "lost", "runs"}
_DAMAGE = (LookupError, ValueError, TypeError, AssertionError)
"""What else reading comes to where pages of a database, or documents in it, are not what was
written: optuna and the driver believe them."""


@contextmanager
def _sound(*also: type[Exception]) -> Iterator[None]:
    """EP602 for whatever a storage that is lost or damaged raises; `also`: which others mean it."""
    try:
        yield
    except EdgepackError:
        raise
    except Exception as error:
        if not isinstance(error, (*also, *_storage_errors())):
            raise
        address = url()
        raise EdgepackError(
            "EP602",
            f"the searches cannot be read or written: {_said(error, address)}",
            where=config.without_password(address),
            hint="If the database is damaged, restore a copy of it, or move it away and search "
            "anew; if it is only out of reach, 'edgepack search --resume' goes on later.",
        ) from error


def _storage_errors() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError, codec.InvalidDocumentError


def _said(error: Exception, address: str) -> str:
    """Optuna's own text speaks of values too long; what the driver said is its cause."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    said = _reason(cause, address)[:300]
    return said if isinstance(error, _storage_errors()) else f"{type(error).__name__}: {said}"


class Study:
    """One search in the storage. `name` is its id."""

    def __init__(self, study: Any, request: Request, name: str = "") -> None:
        """study: optuna's; None for one that is not stored yet, and gets this name."""
        self._made = study
        self.request = request
        self.name: str = name or study.study_name
        self._open: dict[int, Any] = {}

    @classmethod
    def planned(cls, name: str, request: Request) -> Study:
        """A new study, which is stored with the first thing that is noted of it.

        So a search that cannot begin, as its model or its data are of no use, leaves none: it
        would be what `latest` means.
        """
        return cls(None, request, name)

    @classmethod
    @_sound()
    def create(cls, name: str, request: Request) -> Study:
        """A new, empty study, which is stored at once."""
        import optuna
        from optuna.study import StudyDirection

        made = optuna.create_study(
            storage=_storage(url()),
            study_name=name,
            directions=[StudyDirection.MINIMIZE] * OBJECTIVES,
        )
        made.set_user_attr("request", codec.to_json(request))
        return cls(made, request)

    @property
    def is_stored(self) -> bool:
        """Whether there is something that `open` can go on with."""
        return self._made is not None

    @property
    def _study(self) -> Any:
        if self._made is None:
            self._made = self.create(self.name, self.request)._made
        return self._made

    @classmethod
    @_sound(*_DAMAGE)
    def open(cls, ref: str) -> Study:
        """The search of that id, "latest", or the one whose id begins so. EP601, EP602."""
        import optuna

        storage = _storage(url())
        known = sorted(optuna.get_all_study_names(storage))
        named = [ref] if ref in known else [name for name in known if name.startswith(ref)]
        if ref == "latest":
            named = known[-1:]
        if len(named) != 1:
            raise EdgepackError(
                "EP601",
                f"'{ref}' begins several searches" if named else f"no search is named '{ref}'",
                hint=f"Known: {', '.join(known[-5:]) or 'none'}.",
            )
        found = optuna.load_study(study_name=named[0], storage=storage)
        request = codec.from_json(Request, found.user_attrs["request"])
        return cls(found, request)

    @_sound()
    def extend(self, *, trials: int | None, seconds: float | None) -> None:
        """Give the search more trials or time in all than it began with."""
        if trials is not None or seconds is not None:
            self.request = replace(
                self.request,
                trials=trials or self.request.trials,
                seconds=seconds or self.request.seconds,
            )
            self._study.set_user_attr("request", codec.to_json(self.request))

    # ------------------------------------------------------------ asking

    def enqueue_all(self, step: Step | None) -> None:
        """The trials of a step, to be asked for."""
        if step is not None:
            for fixed in step.fixed:
                self.enqueue(step.stage, step.bracket, fixed)

    @_sound()
    def enqueue(self, stage: str, bracket: int, fixed: Mapping[str, Any]) -> None:
        """A trial to be asked for, some or all of its parameters given."""
        self._reopen()
        attrs = {"stage": stage, "bracket": bracket}
        self._study.enqueue_trial(dict(fixed), user_attrs=attrs)

    @_sound()
    def ask(self, space: Space) -> list[tuple[int, Choice]]:
        """Every trial that is still to be run: (number, choice), in order.

        Those that a killed process of this machine left running are taken over.
        """
        import optuna

        state = optuna.trial.TrialState
        waiting = self._study.get_trials(deepcopy=False, states=(state.WAITING,))
        asked = [
            self._resumed(frozen, space)
            for frozen in self._study.get_trials(deepcopy=False, states=(state.RUNNING,))
            if _orphaned(frozen.user_attrs.get("worker"))
        ]
        asked += [self._asked(frozen.number, space) for frozen in waiting]
        return sorted(asked, key=lambda pair: pair[0])

    def _resumed(self, frozen: Any, space: Space) -> tuple[int, Choice]:
        import optuna

        self._seed(frozen.number)
        return self._begun(optuna.trial.Trial(self._study, frozen._trial_id), space)

    def _asked(self, number: int, space: Space) -> tuple[int, Choice]:
        self._seed(number)
        return self._begun(self._study.ask(), space)

    def _begun(self, trial: Any, space: Space) -> tuple[int, Choice]:
        self._reopen()
        trial.set_user_attr("worker", [socket.gethostname(), os.getpid(), _started(os.getpid())])
        self._open[int(trial.number)] = trial
        return int(trial.number), suggest(trial, space)

    def _seed(self, number: int) -> None:
        import optuna

        seed = self.request.seed * 100_003 + number
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed % 2**32, n_startup_trials=_STARTUP, multivariate=True
        )

    # ------------------------------------------------------------ telling

    @_sound()
    def tell(self, tried: Tried) -> None:
        """Store a finished trial: first what is known of it, then that it is finished."""
        import optuna

        trial = self._open.pop(tried.number)
        trial.set_user_attr("tried", codec.to_json(tried))
        if not tried.ok:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        for limit, share in tried.over.items():
            trial.set_constraint(limit, share)
        self._study.tell(trial, values=objectives(tried))

    # ------------------------------------------------------------ reading

    @_sound(*_DAMAGE)
    def tried(self) -> list[Tried]:
        """Every finished trial, in order."""
        return list(self._finished())

    def _finished(self) -> Iterator[Tried]:
        for frozen in self._study.get_trials(deepcopy=False):
            document = frozen.user_attrs.get("tried")
            if document is not None and frozen.state.is_finished():
                yield codec.from_json(Tried, document)

    @_sound(*_DAMAGE)
    def begun(self) -> Sequence[tuple[str, int]]:
        """(stage, bracket) of every trial there is, whatever its state."""
        return [
            (frozen.user_attrs["stage"], frozen.user_attrs["bracket"])
            for frozen in self._study.get_trials(deepcopy=False)
        ]

    def stages(self) -> dict[int, tuple[str, int]]:
        """(stage, bracket) by trial."""
        return dict(enumerate(self.begun()))

    @_sound(*_DAMAGE)
    def recipe(self, number: int) -> Recipe:
        """The recipe of a trial. EP102 where there is none."""
        for tried in self._finished():
            if tried.number == number and tried.recipe is not None:
                return tried.recipe
        raise EdgepackError(
            "EP102",
            f"Search {self.name} has no recipe of a trial {number}",
            hint=f"It has {len(self.begun())} trials; those that failed have none.",
        )

    @property
    @_sound(*_DAMAGE)
    def seconds_used(self) -> float:
        """Time that earlier processes spent on this search."""
        if not self.is_stored:
            return 0.0
        return float(self._study.user_attrs.get("seconds", 0.0))

    @_sound()
    def spent(self, seconds: float) -> None:
        """Note the time spent so far, that of earlier processes included."""
        if self.is_stored:  # one that could not begin leaves nothing
            self._study.set_user_attr("seconds", seconds)

    @_sound()
    def judged_by(self, judge: Judge) -> None:
        """Note what quality means in this search."""
        self._study.set_user_attr("judge", codec.to_json(judge))

    @property
    @_sound(*_DAMAGE)
    def judge(self) -> Judge | None:
        """What quality means in this search; None before its first trial."""
        document = self._study.user_attrs.get("judge")
        return None if document is None else codec.from_json(Judge, document)

    @_sound()
    def conclude(self, document: Mapping[str, Any]) -> None:
        """Keep what the search came to: its document, without the trials, which are here."""
        kept = {key: value for key, value in document.items() if key != "trials"}
        self._study.set_user_attr("concluded", kept)

    @property
    @_sound(*_DAMAGE)
    def concluded(self) -> Mapping[str, Any] | None:
        """What the search came to; None where it has not come to its end, or went on since."""
        found: Mapping[str, Any] | None = self._study.user_attrs.get("concluded")
        if found is not None and not set(found) >= _ANSWERED:
            raise ValueError("its answer is incomplete")
        return found

    @_sound()
    def _reopen(self) -> None:
        """A search that goes on has no answer again: an earlier one knows nothing of new trials."""
        if self.concluded is not None:
            self._study.set_user_attr("concluded", None)


def objectives(tried: Tried) -> tuple[float, float, float]:
    """See `OBJECTIVES`."""
    from statistics import geometric_mean

    relative = geometric_mean([1 / ratio for ratio in tried.speedup.values()])
    return relative, tried.loss, float(tried.bytes)


def _orphaned(worker: Any) -> bool:
    """Whether the process that took a trial is gone (or never got to say its name).

    A process number is used again: the process is known by the time of its start, too.
    """
    if worker is None:
        return True
    host, pid, started = worker
    return bool(host == socket.gethostname() and _started(pid) != started)


def _started(pid: int) -> int | None:
    """When a process of this machine began, in clock ticks since boot; None without one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])  # field 22 of proc_pid_stat(5)
