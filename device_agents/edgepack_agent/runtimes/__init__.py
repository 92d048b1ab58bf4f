"""The TFLite runtimes that the agent knows, by the name of their distribution on PyPI."""

import importlib
from typing import Any, Dict, Optional

from edgepack_agent.errors import AgentError

INTERPRETER = "interpreter"

# (distribution, interface) -> (module here, name of the class). Imported only when asked for.
_KNOWN = {
    ("ai-edge-litert", INTERPRETER): ("edgepack_agent.runtimes.litert", "LiteRt"),
    ("ai-edge-litert", "c"): ("edgepack_agent.runtimes.native", "NativeLiteRt"),
    ("ai-edge-litert", "compiled"): ("edgepack_agent.runtimes.compiled", "CompiledLiteRt"),
    ("tensorflow", INTERPRETER): ("edgepack_agent.runtimes.tensorflow", "TensorFlow"),
    ("tflite-runtime", INTERPRETER): ("edgepack_agent.runtimes.tflite_runtime", "TfliteRuntime"),
}


def names() -> "list[str]":
    """The runtimes that there are: a distribution, and "/compiled" or "/c" for other interfaces."""
    return sorted(name if api == INTERPRETER else "%s/%s" % (name, api) for name, api in _KNOWN)


def version(name: str) -> Optional[str]:
    """The installed version of a distribution, None when it is not installed."""
    from importlib import metadata  # takes as long to import as half the agent

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def create(name: str, api: str = INTERPRETER) -> Any:
    """A `base.Runtime`, not yet loaded. AgentError EP405 when there is none of that name."""
    if (name, api) not in _KNOWN:
        raise AgentError(
            "EP405",
            "this agent has no runtime '%s' with the interface '%s'" % (name, api),
            "Known: %s." % ", ".join(names()),
        )
    module, cls = _KNOWN[name, api]
    return getattr(importlib.import_module(module), cls)()


def candidate(name: str, api: str = INTERPRETER) -> Dict[str, Optional[str]]:
    """What `environment` says of one runtime: `unusable` is None when it can be used.

    Imports the runtime: call it in a child, which a broken wheel may take down.
    """
    unusable = None
    try:
        create(name, api).interpreter_class()
    except AgentError as error:
        unusable = error.what
    except (ImportError, OSError, AttributeError) as error:
        unusable = "%s: %s" % (type(error).__name__, error)
    return {"name": name, "api": api, "version": version(name), "unusable": unusable}
