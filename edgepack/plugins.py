"""What other packages add to edgepack: entry points in the groups below.

A plug-in comes from anywhere, so loading one may raise anything: `load` makes that one error
(EP109), and who lists plug-ins shows it instead of failing. Of two with the same name the
first counts, edgepack's own before all others: nothing that is installed changes what a
built-in name means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgepack.errors import EdgepackError, did_you_mean

GROUPS: Mapping[str, str] = {
    "edgepack.passes": "a step of a recipe: a subclass of compress.passes.base.Pass",
    "edgepack.exporters": "runs for another tool: export(runs, target) -> str",
    "edgepack.transports": "a way to a device: connect(device, connect_timeout_s) -> Transport",
    "edgepack.datasets": "a reader of --data NAME://REST: load(rest) -> arrays as in an .npz",
    "edgepack.profiles": "a kind of hardware: a dict with the keys of a profile",
    "edgepack.quality": "a metric, on this host: metric(outputs, labels, dataset) -> number",
    "edgepack.probes": "a probe of the board: a module of one file that runs on the device",
}
OWN = "edgepack"
Check = Callable[[EntryPoint], object]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point as it was found. error: why it is unavailable; None: it can be used."""

    group: str
    name: str
    value: str
    package: str
    version: str
    error: str | None = None

    @property
    def builtin(self) -> bool:
        """Whether edgepack itself brings it."""
        return self.package == OWN


def found(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted; edgepack's own win over others."""
    chosen: dict[str, EntryPoint] = {}
    for entry in _ordered(group):
        chosen.setdefault(entry.name, entry)
    return dict(sorted(chosen.items()))


def load(entry: EntryPoint) -> Any:
    """The object of an entry point. EP109 for whatever goes wrong in loading it."""
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a plug-in may do anything when imported
        raise unavailable(entry, f"{type(error).__name__}: {error}") from error


def unavailable(entry: EntryPoint, why: str) -> EdgepackError:
    """EP109: a plug-in that is installed and cannot be used."""
    return EdgepackError(
        "EP109",
        f"The plug-in '{entry.name}' of {entry.group} is unavailable: {why}",
        where=f"{_package(entry)[0]}: {entry.value}",
        hint="Repair or remove the package that it comes from; see 'edgepack plugin ls'.",
    )


def unknown(group: str, name: str) -> EdgepackError:
    """EP105: no plug-in of that name is installed."""
    what = group.removeprefix(f"{OWN}.")
    return EdgepackError(
        "EP105", f"There is no '{name}' in {what}", hint=did_you_mean(name, list(found(group)))
    )


def listing(checks: Mapping[str, Check]) -> list[Plugin]:
    """Every plug-in of every group, each tried once to see whether it can be used.

    checks: by group, what to try instead of loading it; EP109 where it cannot be used.
    """
    return [plugin for group in GROUPS for plugin in _of(group, checks.get(group, load))]


def _of(group: str, check: Check) -> Iterator[Plugin]:
    taken = found(group)
    for entry in _ordered(group):
        package, version = _package(entry)
        error = None
        if taken[entry.name] != entry:
            error = f"the name is taken by {_package(taken[entry.name])[0]}"
        else:
            try:
                check(entry)
            except EdgepackError as failure:
                error = failure.what.partition(" is unavailable: ")[2]
        yield Plugin(
            group=group,
            name=entry.name,
            value=entry.value,
            package=package,
            version=version,
            error=error,
        )


def _ordered(group: str) -> list[EntryPoint]:
    """edgepack's own first, then by package and name."""

    def place(entry: EntryPoint) -> tuple[bool, str, str]:
        package, _ = _package(entry)
        return package != OWN, package, entry.name

    # The same package on two places of sys.path is seen twice.
    once = {
        (entry.name, entry.value, _package(entry)): entry for entry in entry_points(group=group)
    }
    return sorted(once.values(), key=place)


def _package(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the package that brings it."""
    return (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
