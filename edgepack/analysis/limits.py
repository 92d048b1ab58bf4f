"""What a budget may limit, what `--fail-on` may say, and the measured value of each.

Absolute limits are in the unit that their name ends with. A limit that ends in `_regression`
is the share by which the value may grow against the baseline (0.05: 5%), and for
`quality_regression` the share by which the quality may fall, absolute (0.01: one point).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from edgepack.analysis import quality, sessions
from edgepack.analysis.bench import Entry, energy_mj
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Accelerator, Budget, Latency

PERCENTILES: Mapping[str, int] = {"latency_p50": 50, "latency_p90": 90, "latency_p99": 99}
#: Values that come once a measurement: growth is held against the margin alone.
SINGLE: Mapping[str, str] = {
    "bytes": "bytes",
    "memory": "memory_bytes",
    "energy": "energy_mj",
    "load": "load_ms",
    "first_inference": "first_inference_ms",
}
#: Least share of the operations that the accelerator asked for must take. It is checked without
#: being asked for, with 1.0: a release that was to run on the GPU must say so itself when part
#: of it may run on the CPU.
ACCELERATED = "accelerated_share"
ABSOLUTE = (
    *(f"{name}_ms" for name in PERCENTILES),
    "quality",
    "quality_drop",
    *SINGLE.values(),
    ACCELERATED,
)
REGRESSIONS = tuple(f"{name}_regression" for name in (*PERCENTILES, *SINGLE, "quality"))
LIMITS = (*ABSOLUTE, *REGRESSIONS)

_EMULATED_SAYS_NOTHING = frozenset(
    name for name in LIMITS if name.startswith(("latency", "load", "first", "energy"))
)
_RULE = re.compile(r"\s*([a-z_0-9]+)\s*([<>])\s*([0-9]+(?:\.[0-9]+)?)\s*(%|[A-Za-zµ]*)\s*")
_ENDING = re.compile(r"_(ms|mj|bytes|regression)$")
_UNITS: Mapping[str, Mapping[str, float]] = {
    "ms": {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3},
    "bytes": {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2},
    "mj": {"mJ": 1.0, "uJ": 1e-3, "J": 1e3},
}
_HINT = "For example 'latency_p90>5%', 'latency_p50>4ms', 'bytes>400kB' or 'quality<0.9'."


def says_nothing(limit: str, entry: Entry) -> bool:
    """Whether an emulator's value of this limit means nothing for a board."""
    return entry.emulated and limit in _EMULATED_SAYS_NOTHING


def value(limit: str, entry: Entry, base: Entry | None) -> float | None:
    """The measured value of an absolute limit in its unit; None when it was not measured.

    base: the variant that `quality_drop` is against.
    """
    if entry.latency is None or says_nothing(limit, entry):
        return None
    if limit == "quality_drop":
        return quality_drop(entry, base)
    return _READ[limit](entry, entry.latency)


def too_few(limit: str, entry: Entry) -> str:
    """Why a percentile is no more than the largest of a few inferences; "" where it is one."""
    percent = PERCENTILES.get(limit.removesuffix("_ms"))
    if percent is None or entry.latency is None:
        return ""
    wanted, count = sessions.samples_a_block(percent), entry.latency.n
    return f"p{percent} takes {wanted} inferences or more, not {count}" if count < wanted else ""


def in_percent(limit: str, bound: float, entry: Entry) -> str:
    """Why a bound of a quality that is a share says nothing; "" where it may be meant so.

    One of 1 or more cannot be exceeded by what is lost, and one above 1 cannot be reached.
    """
    if limit not in ("quality", "quality_drop") or entry.quality is None:
        return ""
    nonsense = bound > 1 or (limit == "quality_drop" and bound == 1)
    if not nonsense or not quality.is_share(entry.quality):
        return ""
    return f"{entry.quality.metric} is a share: for {bound:g}% write {bound / 100:g}"


def at_least(limit: str, entry: Entry) -> bool:
    """A quality must reach its limit, unless it is an error, which must not exceed it; so must
    the accelerator's share."""
    if limit == ACCELERATED:
        return True
    error = entry.quality is not None and quality.better_is_lower(entry.quality.metric)
    return limit == "quality" and not error


def quality_drop(entry: Entry, base: Entry | None) -> float | None:
    """How much worse than `base`, in the metric's unit; 0 or less where it is not."""
    if base is None or base.quality is None or entry.quality is None:
        return None
    change = quality.change(base.measurement, entry.measurement)
    if change is None:
        return None
    return change.delta if quality.better_is_lower(change.metric) else 0.0 - change.delta


def fail_on(rules: Sequence[str]) -> tuple[Budget, ...]:
    """`--fail-on` rules as one budget for every device; none for no rules.

    Raises:
        EdgepackError: EP105, a rule that is not METRIC>NUMBER with a unit or "%".
    """
    limits = dict(_rule(rule) for rule in rules)
    return (Budget(selector="*", limits=limits),) if limits else ()


def _rule(rule: str) -> tuple[str, float]:
    found = _RULE.fullmatch(rule)
    if not found:
        raise _refused(rule, "it is not METRIC>NUMBER", _HINT)
    name, sign, number, unit = found[1], found[2], found[3], found[4]
    if name == "quality" and sign == "<" and unit in ("", "%"):
        return "quality", float(number) / (100 if unit else 1)
    if sign == "<":
        raise _refused(rule, "only 'quality' can fail by being below a value", _HINT)
    if unit == "%":
        return _relative(rule, name), float(number) / 100
    limit = next((each for each in ABSOLUTE if each in (name, f"{name}_ms", SINGLE.get(name))), "")
    if limit == "quality":
        hint = f"Write quality<{number} for the least allowed, quality>1% for the points lost."
        raise _refused(rule, "a high quality is no failure", hint)
    if limit in ("", ACCELERATED):
        raise _unknown(rule, name)
    return limit, float(number) * _unit(rule, limit, number, unit)


def _relative(rule: str, name: str) -> str:
    if name == "quality_drop":
        return name
    if f"{name}_regression" in REGRESSIONS:
        return f"{name}_regression"
    raise _unknown(rule, name)


def _unit(rule: str, limit: str, number: str, unit: str) -> float:
    units = _UNITS.get(limit.rpartition("_")[2], {"": 1.0})
    if unit in units:
        return units[unit]
    metric, (first, *others) = _metric(limit), units
    why = f"'{unit}' is not a unit of {metric}" if unit else f"a limit of {metric} needs a unit"
    also = f" (or {', '.join(others)})" if others else ""
    hint = f"Write {metric}>{number}{first}{also}; {metric}>5% is growth against the baseline."
    raise _refused(rule, why, hint)


def _names() -> list[str]:
    return [*PERCENTILES, *SINGLE, "quality", "quality_drop"]


def _metric(limit: str) -> str:
    """What `--fail-on` calls a budget's limit; the name as it is where it is none."""
    bare = _ENDING.sub("", limit)
    return bare if bare in _names() else limit


def _unknown(rule: str, name: str) -> EdgepackError:
    metric = _metric(name)
    why = f"unknown metric '{name}'"
    if name in LIMITS and metric != name:
        why = f"'{name}' is a limit of a budget file, which --fail-on calls '{metric}'"
    hint = did_you_mean(metric, _names())
    known = "" if hint.startswith("Known") else f" Known: {', '.join(_names())}."
    return _refused(rule, why, f"{hint}{known}")


def _refused(rule: str, why: str, hint: str) -> EdgepackError:
    return EdgepackError(
        "EP105", f"cannot read '{rule[:100]}': {why}", where="--fail-on", hint=hint
    )


_READ: Mapping[str, Callable[[Entry, Latency], float | None]] = {
    "latency_p50_ms": lambda entry, latency: latency.p50 / 1e3,
    "latency_p90_ms": lambda entry, latency: latency.p90 / 1e3,
    "latency_p99_ms": lambda entry, latency: latency.p99 / 1e3,
    "load_ms": lambda entry, latency: _ms(entry.measurement.load_ns),
    "first_inference_ms": lambda entry, latency: _ms(entry.measurement.first_ns),
    "memory_bytes": lambda entry, latency: entry.measurement.peak_rss_bytes,
    "energy_mj": lambda entry, latency: energy_mj(entry.measurement),
    "bytes": lambda entry, latency: entry.bytes,
    "quality": lambda entry, latency: entry.quality.value if entry.quality else None,
    ACCELERATED: lambda entry, latency: _accelerated(entry.measurement.accelerator),
}


def _accelerated(accelerator: Accelerator) -> float | None:
    """The share of the operations on the accelerator asked for; None where it is not known.

    On the CPU it is 1, whatever XNNPACK took: the CPU was asked for.
    """
    if accelerator.actual != accelerator.requested:
        return 0.0
    if accelerator.requested == "cpu":
        return 1.0
    total, taken = accelerator.ops_total, accelerator.ops_delegated
    return None if not total or taken is None else taken / total


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6
