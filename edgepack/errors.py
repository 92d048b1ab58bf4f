"""The errors a user can cause: each has a stable code, a sentence, a place and a next step.

One class serves all of them; the catalogue below gives every code its title and the exit
code of the command that ends with it. A traceback is a bug (exit 70), never a message.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; scripts rely on them."""

    OK = 0
    GATE_FAILED = 1
    USAGE = 2
    BUILD_FAILED = 3
    DEVICE_FAILED = 4
    BUG = 70
    INTERRUPTED = 130


# code -> (exit code, title). Ranges: 1xx usage and configuration, 2xx models and builds,
# 3xx data, 4xx devices and transport, 5xx the agent and measuring, 6xx store and reports.
CATALOGUE: dict[str, tuple[ExitCode, str]] = {
    "EP101": (ExitCode.USAGE, "unknown device"),
    "EP102": (ExitCode.USAGE, "unknown recipe or pass"),
    "EP103": (ExitCode.USAGE, "unknown profile"),
    "EP104": (ExitCode.USAGE, "configuration file cannot be read"),
    "EP105": (ExitCode.USAGE, "invalid value"),
    "EP106": (ExitCode.USAGE, "budget file cannot be read"),
    "EP107": (ExitCode.USAGE, "device already registered"),
    "EP108": (ExitCode.USAGE, "nothing to do"),
    "EP109": (ExitCode.USAGE, "plug-in is unavailable"),
    "EP110": (ExitCode.USAGE, "URL cannot be fetched"),
    "EP201": (ExitCode.BUILD_FAILED, "model file not found"),
    "EP202": (ExitCode.BUILD_FAILED, "not a model file, or a damaged one"),
    "EP203": (ExitCode.BUILD_FAILED, "model needs custom objects"),
    "EP204": (ExitCode.BUILD_FAILED, "conversion failed"),
    "EP205": (ExitCode.BUILD_FAILED, "converted model does not run or does not agree"),
    "EP206": (ExitCode.BUILD_FAILED, "pass cannot be applied to this model"),
    "EP207": (ExitCode.BUILD_FAILED, "compression worker failed"),
    "EP208": (ExitCode.BUILD_FAILED, "package cannot be read, or is damaged"),
    "EP209": (ExitCode.BUILD_FAILED, "package is not signed by an allowed signer"),
    "EP210": (ExitCode.BUILD_FAILED, "package is older than one accepted before"),
    "EP301": (ExitCode.USAGE, "dataset not found"),
    "EP302": (ExitCode.USAGE, "dataset cannot be read"),
    "EP303": (ExitCode.USAGE, "dataset does not fit the model"),
    "EP401": (ExitCode.DEVICE_FAILED, "device unreachable"),
    "EP402": (ExitCode.DEVICE_FAILED, "host key changed or not pinned"),
    "EP403": (ExitCode.DEVICE_FAILED, "login refused"),
    "EP404": (ExitCode.DEVICE_FAILED, "device has no usable Python"),
    "EP405": (ExitCode.DEVICE_FAILED, "device has no usable runtime"),
    "EP406": (ExitCode.DEVICE_FAILED, "not enough disk space on the device"),
    "EP407": (ExitCode.DEVICE_FAILED, "connection lost"),
    "EP408": (ExitCode.DEVICE_FAILED, "device took too long"),
    "EP409": (ExitCode.DEVICE_FAILED, "transfer damaged"),
    "EP410": (ExitCode.DEVICE_FAILED, "device is measured by another session"),
    "EP411": (ExitCode.DEVICE_FAILED, "lease of the device lost"),
    "EP412": (ExitCode.DEVICE_FAILED, "run ended before this was measured"),
    "EP413": (ExitCode.DEVICE_FAILED, "device is too hot or busy to measure"),
    "EP501": (ExitCode.DEVICE_FAILED, "agent sent something that is not the protocol"),
    "EP502": (ExitCode.DEVICE_FAILED, "agent failed"),
    "EP503": (ExitCode.DEVICE_FAILED, "variant crashed on the device"),
    "EP504": (ExitCode.DEVICE_FAILED, "accelerator not available on the device"),
    "EP505": (ExitCode.DEVICE_FAILED, "out of memory on the device"),
    "EP601": (ExitCode.USAGE, "unknown run"),
    "EP602": (ExitCode.USAGE, "store cannot be opened"),
    "EP603": (ExitCode.USAGE, "report or package cannot be written"),
    "EP610": (ExitCode.USAGE, "run cannot be stored"),
    "EP611": (ExitCode.USAGE, "archive of runs cannot be read, or is damaged"),
    "EP612": (ExitCode.USAGE, "runs cannot be exported"),
}


class EdgepackError(Exception):
    """An error with a code from `CATALOGUE`, what happened, where, and what to try next.

    Attributes:
        code: a key of `CATALOGUE`, for example "EP204".
        what: one sentence: what happened.
        where: the file, device or option it happened at; None where that adds nothing.
        hint: one sentence: what to try. Never empty.
    """

    def __init__(self, code: str, what: str, *, hint: str, where: str | None = None) -> None:
        if code not in CATALOGUE:
            raise KeyError(f"{code} is not in the catalogue of errors")
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.hint = hint

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ends with this error."""
        return CATALOGUE[self.code][0]

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.code}: {self.what}{place}. {self.hint}"


class Abandoned(KeyboardInterrupt):
    """The second Ctrl-C: the process ends at once, whatever is still under way."""


def unexpected(error: Exception) -> EdgepackError:
    """What nobody foresaw in one device's work, as that device's failure: EP502.

    So that it costs no other device its results. The traceback goes to the log "edgepack" at
    DEBUG; where it happened is told in any case, as nothing listens there by default.
    """
    import logging
    import traceback
    from pathlib import Path

    logging.getLogger("edgepack").debug("unexpected: %s", error, exc_info=error)
    calls = traceback.extract_tb(error.__traceback__)[-3:]
    return EdgepackError(
        "EP502",
        f"Unexpected: {type(error).__name__}: {str(error)[:300]}",
        where=" > ".join(f"{Path(call.filename).name}:{call.lineno}" for call in calls) or None,
        hint="Please report it, with this text (and, from Python, the log 'edgepack' at DEBUG).",
    )


def did_you_mean(name: str, known: list[str]) -> str:
    """One sentence that names the nearest of `known` (all that are as near), or lists them."""
    import difflib

    def likeness(one: str) -> float:
        return difflib.SequenceMatcher(None, one, name).ratio()

    near = difflib.get_close_matches(name, known, n=4)
    best = [one for one in known if one in near and likeness(one) == likeness(near[0])]
    if best:
        *others, last = [f"'{one}'" for one in dict.fromkeys(best)]
        return f"Did you mean {', '.join(others) + ' or ' if others else ''}{last}?"
    return f"Known: {', '.join(sorted(known)) or 'none'}."
