"""LiteRT's NPU accelerator: a vendor's dispatch library, and the compiler plug-in beside it.

LiteRT runs what no plug-in has compiled on the CPU, without a word, and calls such a model fully
accelerated. So what went to the NPU is counted here: from the log of the plug-in, or from the
operations of a file that was compiled before.
"""

import ctypes
import re
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Ops, unavailable

NPU = "npu"  # with a colon and a folder of the device, or alone: what LiteRT's wheel brings
_DISPATCH, _COMPILER = "libLiteRtDispatch_*.so", "libLiteRtCompilerPlugin_*.so"
_SHARE = re.compile(r"Partitioned subgraph<\d+>, selected (\d+) ops, from a total of (\d+) ops")
_APPLIED = re.compile(r"[1-9]\d* compiler plugins were applied successfully")
_DEVICE = re.compile(r"Using (Intel OpenVINO device: \w+)")
_REASON = re.compile(r"^ERROR: (?:\[[^]]*\] )?([^\n]+(?:\n(?!\w+: \[)[^\n]+){0,4})", re.MULTILINE)
COMPILED_BEFORE = "DISPATCH_OP"
MOST_TOLD = 500  # characters of a vendor's words
# The options that the vendors' dispatch libraries take through LiteRT's Python interface.
_OPTIONS = {"IntelOpenvino": "IntelOpenVinoOptions", "Qualcomm": "QualcommOptions"}


class Dispatch(NamedTuple):
    """A dispatch library; compiler: the folder of its compiler plug-in, or its own without one."""

    library: Path
    compiler: Path


def is_npu(accelerator: str) -> bool:
    """Whether that is asked for."""
    return accelerator.partition(":")[0] == NPU


def find(accelerator: str, package: Path) -> Dispatch:
    """The library that was asked for. AgentError EP504 when it is not there or does not load."""
    folder = accelerator.partition(":")[2]
    folders = [Path(folder)] if folder else sorted(package.glob("vendors/*/dispatch"))
    found = [library for each in folders for library in sorted(each.glob(_DISPATCH))]
    if not found:
        raise unavailable(
            "there is no LiteRT dispatch library (%s) in %s"
            % (_DISPATCH, folder or "this ai-edge-litert"),
            "Give the folder on the device: --accelerator npu:/vendor/dispatch",
        )
    try:
        ctypes.CDLL(str(found[0]))  # LiteRT does not say why it cannot
    except OSError as error:
        raise unavailable(
            "the dispatch library %s cannot be loaded: %s" % (found[0].name, error),
            "Install the vendor's own libraries on the device.",
        ) from None
    own = found[0].parent
    beside = [each for each in (own, own.parent / "compiler") if list(each.glob(_COMPILER))]
    return Dispatch(found[0], beside[0] if beside else own)


def options(litert: Any, library: Path, given: Dict[str, str]) -> Dict[str, Any]:
    """What `Options` takes for the vendor: its keyword and value; {} without any option given.

    AgentError EP504 for one that there is not: an ignored option is a wrong number.
    """
    if not given:
        return {}
    vendor = library.stem.partition("_")[2]
    kind = getattr(litert, _OPTIONS.get(vendor, ""), None)
    if kind is None:
        raise unavailable("the NPU of %s takes no options here" % vendor, "Leave them out.")
    made = kind()
    for name, value in given.items():
        choices = getattr(kind, name.upper(), None)
        if choices is None or value.upper() not in choices.__members__:
            known = "" if choices is None else " (%s)" % ", ".join(choices.__members__)
            raise unavailable(
                "there is no option %s=%s of %s" % (name, value, kind.__name__),
                "Correct it%s." % known,
            )
        setattr(made, name, choices[value.upper()])
    key = "intel_openvino_options" if vendor == "IntelOpenvino" else "qualcomm_options"
    return {key: made}


def taken(log: str, ops: Ops) -> int:
    """How many operations went to the NPU: by the plug-in's log, or in the file already.

    What a plug-in selected counts only once it was applied: one that fails to compile leaves all
    to the CPU. LiteRT's interpreter names an operation that was compiled before after its code.
    """
    if _APPLIED.search(log):
        return sum(int(number) for number, _ in _SHARE.findall(log))
    return sum(COMPILED_BEFORE in name for name in ops.left)


def device(log: str) -> Optional[str]:
    """What the vendor's library says that it runs on, where it does."""
    found = _DEVICE.search(log)
    return found.group(1) if found else None


def failed(log: str) -> bool:
    """Whether a plug-in gave up, which LiteRT takes for a reason to use the CPU."""
    return "Plugin errs" in log


def refused(log: str, error: str) -> AgentError:
    """EP504 with what LiteRT logged, which the exception leaves out."""
    reasons = list(dict.fromkeys(_REASON.findall(log)))[:2]
    return unavailable(
        "the NPU does not take this model here: %s"
        % " ".join(("; ".join(reasons) or error).split())[:MOST_TOLD],
        "Check the vendor's driver, and that the model is compiled for this NPU.",
    )
