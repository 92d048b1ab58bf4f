"""Fields of the host's messages: checked one by one, by hand, because a board has nothing but the
stdlib.

A field that this agent does not know is refused (EP501): an ignored option is a wrong number.
A known field with a bad value is EP105. Both name the field.
"""

import math
import re
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

from edgepack_agent.errors import AgentError

Check = Callable[[Any, str], Any]
DAY_S = 86400.0


def bad(where: str, value: Any, wanted: str) -> AgentError:
    """The error EP105 about one field."""
    return AgentError(
        "EP105", "job field '%s' is %.80r" % (where, value), "It must be %s." % wanted
    )


def text(value: Any, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise bad(where, value, "a text that is not empty")
    return value


def digest(value: Any, where: str) -> str:
    """A SHA-256 in hex."""
    # The digest becomes a file name, so its form is a matter of safety.
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise bad(where, value, "a SHA-256 in 64 hexadecimal digits")
    return value


def path(value: Any, where: str) -> str:
    """An absolute path, or "~/…": one in the home of this login."""
    fits = isinstance(value, str) and value.startswith(("/", "~/")) and "\0" not in value
    if not fits or len(value) > 4096:
        raise bad(where, value, "an absolute path, or one that begins with ~/")
    return str(Path(value).expanduser())


def flag(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise bad(where, value, "true or false")
    return value


def integer(low: int, high: int) -> Check:
    """A whole number from low to high."""

    def check(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise bad(where, value, "a whole number from %d to %d" % (low, high))
        return value

    return check


def number(low: float, high: float) -> Check:
    """A finite number from low to high."""

    def check(value: Any, where: str) -> float:
        wanted = "a number from %g to %g" % (low, high)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise bad(where, value, wanted)
        if not math.isfinite(value) or not low <= value <= high:
            raise bad(where, value, wanted)
        return float(value)

    return check


def choice(*allowed: str) -> Check:
    """One of these words."""

    def check(value: Any, where: str) -> str:
        if value not in allowed:
            raise bad(where, value, "one of %s" % ", ".join(allowed))
        return str(value)

    return check


def optional(inner: Check) -> Check:
    """null, or what `inner` takes."""

    def check(value: Any, where: str) -> Any:
        return None if value is None else inner(value, where)

    return check


def list_of(inner: Check, at_least: int = 0, at_most: int = 2**31) -> Check:
    """So many of what `inner` takes."""

    def check(value: Any, where: str) -> Tuple[Any, ...]:
        if not isinstance(value, list) or not at_least <= len(value) <= at_most:
            raise bad(where, value, "a list of %d to %d" % (at_least, at_most))
        return tuple(inner(item, "%s[%d]" % (where, i)) for i, item in enumerate(value))

    return check


def mapping_of(inner: Check) -> Check:
    """An object with values that `inner` takes."""

    def check(value: Any, where: str) -> Dict[str, Any]:
        if not isinstance(value, dict):
            raise bad(where, value, "an object")
        return {key: inner(item, "%s.%s" % (where, key)) for key, item in value.items()}

    return check


def record(make: Callable[..., Any], fields: Dict[str, Check]) -> Check:
    """All of `fields` and no other, given to `make` by name."""

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise bad(where or "job", value, "an object")
        prefix = where + "." if where else ""
        unknown = sorted(set(value) - set(fields))
        if unknown:
            raise AgentError(
                "EP501",
                "the job has fields unknown to this agent: %s"
                % ", ".join(prefix + name for name in unknown),
                "Use the agent that comes with this edgepack.",
            )
        missing = sorted(set(fields) - set(value))
        if missing:
            raise bad(prefix + missing[0], None, "given")
        return make(**{name: inner(value[name], prefix + name) for name, inner in fields.items()})

    return check
