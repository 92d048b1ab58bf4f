"""Text for people: cleaning of what others wrote, and numbers with their units.

Names, errors and environments come from users and from devices and can hold anything. Every
renderer passes them through `plain` first, and escapes for its own format after that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from edgepack.model import Comparison, Failure, Row

#: Longer texts are cut: an error of megabytes would bury the report.
LONGEST = 400
# GitHub and Azure read commands from a job's output: "::error title=x::y" (wherever a long line
# is broken) and "##[error]". A lone "::" within a word is left whole: "std::bad_alloc", "fe80::1".
_COMMAND = re.compile(r"(?<![\w\[]):(?=:)|#(?=#\w*\[)")
_COLONS = re.compile(r":(?=:)")
_BARS = "▁▂▃▄▅▆▇█"
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(value: object, longest: int = LONGEST) -> str:
    """The value as one line without control, format (bidirectional) or unassigned characters.

    White space of any kind becomes one space; anything else unsafe becomes U+FFFD, so that it
    is seen that something was there. Cut to `longest` characters with an ellipsis. What a CI
    service would take for a command of its own ("::error::", "##[error]") is taken apart.
    """
    text = str(value)
    cut = text[: longest + 1]
    line = " ".join(cut.split())
    split = _COLONS.sub(": ", line) if line.count("::") > 1 else line
    spaced = _COMMAND.sub(lambda found: f"{found[0]} ", split)
    safe = "".join("\ufffd" if unicodedata.category(c) in _UNSAFE else c for c in spaced)
    return safe[: longest - 1] + "…" if max(len(text), len(safe)) > longest else safe


def lines(value: str, most: int = 40, longest: int = 2000) -> list[str]:
    """A text of several lines, each cleaned and at most `longest` characters; the rest counted."""
    found = value[: most * longest].split("\n")
    shown = [_indent(line) + plain(line, longest) for line in found[:most]]
    left = len(found) - most
    return [*shown, f"({left} more lines)"] if left > 0 else shown


def _indent(line: str) -> str:
    return " " * min(len(line) - len(line.lstrip(" ")), 8)


def microseconds(us: float) -> str:
    """A time with three significant digits: "61.3 µs", "1.20 ms", "2.50 s"."""
    for scale, unit in ((1e6, "s"), (1e3, "ms"), (1.0, "µs")):
        # 999.5 would round to "1000 µs"
        if us >= scale * 0.9995 or unit == "µs":
            return f"{three(us / scale)} {unit}"
    raise AssertionError(us)


def tick(us: float) -> str:
    """A round time as an axis shows it: "20 µs", "1.5 ms"."""
    for scale, unit in ((1e6, "s"), (1e3, "ms")):
        if us >= scale:
            return f"{us / scale:g} {unit}"
    return f"{us:g} µs"


def three(value: float) -> str:
    """Three significant digits without an exponent."""
    for limit, digits in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def size(count: int | None) -> str:
    """Bytes in SI units (1 kB = 1000 bytes): "102 kB"; "–" for None."""
    if count is None:
        return "–"
    for scale, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if count >= scale * 0.9995:
            return f"{three(count / scale)} {unit}"
    return f"{count} B"


def millijoules(energy: float | None) -> str:
    """An energy with three significant digits: "12.3 mJ", "820 µJ", "1.20 J"; "–" for None."""
    if energy is None:
        return "–"
    for scale, unit in ((1e3, "J"), (1.0, "mJ"), (1e-3, "µJ")):
        if energy >= scale * 0.9995 or unit == "µJ":
            return f"{three(energy / scale)} {unit}"
    raise AssertionError(energy)


def sparkline(values: Sequence[float]) -> str:
    """Counts as eight heights, the highest full: "▁▂▇█▃▁"; what is there is never blank."""
    highest = max(values, default=0.0)
    if highest <= 0:
        return ""
    return "".join(_BARS[min(int(8 * value / highest), 7)] if value else " " for value in values)


def batches(size: int) -> str:
    """What a setting adds about batches: ", batches of 16", or "" where each is one sample."""
    return f", batches of {size}" if size > 1 else ""


def half_width(interval: tuple[float, float], centre: float) -> str:
    """The larger side of an interval in percent of its centre: "±0.4%"."""
    wide = max(interval[1] - centre, centre - interval[0])
    share = 100 * wide / centre if centre else 0.0
    if share > 100:  # one look at the board: from the fastest to the slowest inference
        return "±>100%"
    return f"±{share:.1f}%" if share < 9.95 else f"±{share:.0f}%"


def with_interval(us: float, interval: tuple[float, float] | None) -> str:
    """ "61.3 µs ±0.4%"; without an interval the time alone."""
    shown = microseconds(us)
    return shown if interval is None else f"{shown} {half_width(interval, us)}"


def speedup(row: Row) -> str:
    """ "2.71× (2.66–2.76)", "not significant", or "–"."""
    if row.speedup is None:
        return "–"
    if row.speedup_ci95 is None:
        return f"{row.speedup:.2f}× (one round)"
    if not row.significant:
        return "not significant"
    low, high = row.speedup_ci95
    return f"{row.speedup:.2f}× ({low:.2f}–{high:.2f})"


def failure(found: Failure | None) -> str:
    """ "EP401: what. What to try." on one line."""
    if found is None:
        return "no reason was given"
    what = plain(found.what).rstrip(".")
    return f"{plain(found.code)}: {what}. {plain(found.hint)}".strip()


def by_device(comparison: Comparison) -> Mapping[str, list[Row]]:
    """The comparison's rows by device, in order."""
    found: dict[str, list[Row]] = {}
    for row in comparison.rows:
        found.setdefault(row.device, []).append(row)
    return found
