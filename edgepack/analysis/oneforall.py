"""One variant for all boards: which costs least, and what it costs on each of them.

Every board has its own best variant; shipping one file to all of them is simpler and slower on
some. The one chosen is fit on every board and has the smallest largest cost; of equals the
smallest file. Boards without a recommendation (unreachable, emulated) have no say and are
named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepack.analysis import stats
from edgepack.analysis.bench import Bench, Entry
from edgepack.model import Fleet


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A board: why each variant cannot be shipped to it ("" for those that can), and its best."""

    bench: Bench
    refusals: Mapping[str, str]
    winner: Entry | None


def one_for_all(fits: Sequence[Fit]) -> Fleet | None:
    """The fleet's variant; None for fewer than two boards with a recommendation."""
    boards = [fit for fit in fits if fit.winner is not None]
    if len(boards) < 2:
        return None
    names = list(dict.fromkeys(e.name for fit in boards for e in fit.bench.entries))
    lost = {name: why for name in names if (why := _unfit(boards, name))}
    costs = {name: _costs(boards, name) for name in names if name not in lost}
    devices = tuple(fit.bench.device for fit in boards)
    if not costs:
        reason = "no variant is fit for every board: each gets its own"
        return Fleet(variant=None, devices=devices, costs={}, reason=reason, lost=lost)
    chosen = min(costs, key=lambda name: (max(costs[name].values()), _bytes(boards, name)))
    for name, cost in costs.items():
        if name != chosen:
            lost[name] = _worse(cost, costs[chosen], chosen)
    paid = {device: cost for device, cost in costs[chosen].items() if cost > 0}
    silent = [fit.bench.device for fit in fits if fit.winner is None]
    return Fleet(
        variant=chosen,
        devices=devices,
        costs=paid,
        reason=_said(chosen, paid, boards, silent),
        lost=lost,
    )


def _unfit(boards: Sequence[Fit], name: str) -> str:
    for fit in boards:
        if fit.bench.get(name) is None:
            return f"was not measured on {fit.bench.device}"
        if fit.refusals[name]:
            return f"on {fit.bench.device}: {fit.refusals[name]}"
    return ""


def _costs(boards: Sequence[Fit], name: str) -> dict[str, float]:
    """How much slower than each board's best, as a share; 0 where that may be chance."""
    found = {}
    for fit in boards:
        entry, best = fit.bench.get(name), fit.winner
        assert entry is not None and best is not None
        slower = None if entry is best else fit.bench.speedup(best, entry)
        known = slower is not None and stats.significant(slower[1]) and slower[0] < 1
        found[fit.bench.device] = 1 / slower[0] - 1 if known and slower else 0.0
    return found


def _bytes(boards: Sequence[Fit], name: str) -> float:
    entry = boards[0].bench.get(name)
    return float("inf") if entry is None or entry.bytes is None else entry.bytes


def _worse(cost: Mapping[str, float], chosen: Mapping[str, float], name: str) -> str:
    worst = max(cost, key=lambda device: cost[device])
    if cost[worst] > max(chosen.values()):
        return f"costs {percent(cost[worst])} on {worst}"
    return f"no faster where it is slowest than {name}, and bigger"


def _said(
    chosen: str, paid: Mapping[str, float], boards: Sequence[Fit], silent: Sequence[str]
) -> str:
    if paid:
        each = ", ".join(f"{percent(cost)} on {device}" for device, cost in paid.items())
        said = f"one variant for all boards, {chosen}, costs {each}"
        free = len(boards) - len(paid)
        said += " and nothing elsewhere" if free else ""
    else:
        said = f"one variant for all boards, {chosen}, costs nothing"
    return said + (f" (without a say: {', '.join(silent)})" if silent else "")


def percent(share: float) -> str:
    """ "12%", "0.8%", "340%"."""
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"
