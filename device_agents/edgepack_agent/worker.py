"""The child that holds one variant: obeys its parent's commands over a pair of pipes.

Commands are JSON lines on its standard input, each answered by one RS-framed `reply` on its
standard output, with any number of `outputs` and `progress` events before it. It ends when
its input ends or its parent dies.
"""

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, Dict

from edgepack_agent import memory, runtimes
from edgepack_agent.errors import AgentError
from edgepack_agent.protocol import EndOfInput, Reader, Writer, parse, take_stdout

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, where it can (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return  # the end of standard input still ends this process
    if os.getppid() != parent:
        os._exit(1)


def prefer_as_oom_victim() -> None:
    """When memory runs out, let the kernel take this child: not the agent, nor sshd."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


class Worker:
    """Obeys commands. NumPy is imported with the first that needs it, so that a device without
    it gets an answer to `probe`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._variant: Any = None

    def _do(self, command: Dict[str, Any]) -> Dict[str, Any]:
        doing = command["do"]
        if doing == "probe":
            return runtimes.candidate(command["runtime"], command.get("api", runtimes.INTERPRETER))
        if doing == "numpy":
            import numpy

            return {"version": numpy.__version__}
        if doing == "compile":
            from edgepack_agent import provision

            provision.compile_all(command["folder"], command["target"])
            return {}
        if doing == "data":
            from edgepack_agent import boarddata

            return boarddata.examine(command["path"])
        if doing in ("survey", "calibrate"):
            from edgepack_agent import calibrate

            if doing == "survey":
                return calibrate.survey(command["path"])
            return calibrate.ranges(command, self._writer)
        if doing == "load":
            from edgepack_agent.variant import LoadedVariant

            self._variant = LoadedVariant(command, self._writer)
            return dict(self._variant.description())
        commands: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "warmup": self._variant.warmup,
            "run": self._variant.run,
            "outputs": self._variant.outputs,
            "quality": self._variant.quality,
            "profile": self._variant.profile,
        }
        return commands[doing](command)

    def obey(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """The reply to one command; an AgentError becomes a reply with `error`."""
        try:
            return dict(self._do(command), error=None)
        except AgentError as error:
            return {"error": error.fields(), "status": error.status}
        except MemoryError:
            return {"error": _out_of_memory().fields(), "status": "failed"}
        except Exception as error:  # a runtime may raise anything; the log has the traceback
            traceback.print_exc()
            failed = AgentError(
                "EP502",
                "%s: %s" % (type(error).__name__, " ".join(str(error).split())),
                "The agent's log has the traceback.",
            )
            return {"error": failed.fields(), "status": failed.status}


def _out_of_memory() -> AgentError:
    return AgentError(
        "EP505",
        "the device ran out of memory",
        "Measure fewer variants at a time, or on less data.",
    )


def main(parent: int, memory_limit: int) -> int:
    """Obey until the parent closes the pipe. memory_limit: in bytes, 0 for none."""
    die_with(parent)
    prefer_as_oom_victim()
    memory.limit(memory_limit)
    writer = Writer(take_stdout())
    worker = Worker(writer)
    reader = Reader(0)
    try:
        while True:
            command = parse(reader.line())
            # In front: what was brought with the job goes before what the device has.
            new = [path for path in command.get("sys_path", ()) if path not in sys.path]
            sys.path[:0] = new
            writer.send(dict(worker.obey(command), event="reply"))
    except (EndOfInput, BrokenPipeError):
        return 0
