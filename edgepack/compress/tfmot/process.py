"""The worker as a process: started, listened to, limited in time, and ended with its host."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from edgepack.compress.checking import child_environment
from edgepack.compress.passes.base import Context
from edgepack.errors import EdgepackError

_MODULE = "edgepack.compress.tfmot.worker"
_HINT = "Use a recipe without this pass."


def run_worker(folder: Path, context: Context, time_limit_s: float) -> None:
    """Run the job in `folder` and pass the worker's progress on.

    The worker ends itself when its standard input ends, so that it never outlives a host
    that was killed. EP206 when it refuses the network, EP207 when it fails, with its last
    words, or takes longer than `time_limit_s`.
    """
    with (folder / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(folder)],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        late = threading.Event()
        timer = threading.Timer(time_limit_s, _stop, (process, late))
        timer.start()
        try:
            assert process.stdout is not None
            _listen(process.stdout, context)
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.communicate()
        log.seek(0)
        last = (log.read().strip().splitlines() or ["no message"])[-1][:300]
    if late.is_set():
        raise EdgepackError(
            "EP207",
            f"The tf_keras worker was stopped after its limit of {time_limit_s:g} s",
            hint="Give the pass fewer steps or epochs, or a larger time_limit_s.",
        )
    if code != 0:
        raise _failure(code, last)


def _stop(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


def _listen(lines: IO[str], context: Context) -> None:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the last line of a worker that was killed while writing
            return
        context.progress(event["message"], event["done"], event["total"])


def _failure(code: int, last: str) -> EdgepackError:
    unsupported = last.partition("UnsupportedLayerError: ")[2]
    if unsupported:
        what = f"The network cannot be rebuilt in Keras 2: {unsupported}"
        return EdgepackError("EP206", what, hint=_HINT)
    refused = last.partition("RefusedError: ")[2]
    if refused:
        return EdgepackError("EP206", refused, hint=_HINT)
    how = f"ended with code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    return EdgepackError("EP207", f"The tf_keras worker {how}: {last}", hint=_HINT)
