"""TensorFlow's start and its native chatter, in one place.

TensorFlow and its converter write to file descriptor 2 from C++, past every Python setting.
Inside `quiet()` that goes to a temporary file; Python's own `sys.stderr` still reaches the
terminal, so that progress stays visible.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TextIO


@cache
def _visible() -> TextIO:
    """The terminal, on a descriptor of its own. Never closed: log handlers that are made while
    native code is quiet keep it for good."""
    return os.fdopen(os.dup(2), "w", buffering=1, errors="replace")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code and Python warnings say off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    python_stderr = sys.stderr
    visible = _visible()
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 2)
        if python_stderr is sys.__stderr__:
            sys.stderr = visible
        try:
            yield
        finally:
            sys.stderr = python_stderr
            os.dup2(terminal, 2)
            os.close(terminal)


def tensorflow() -> Any:
    """TensorFlow with Keras 3 on it, imported quietly."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet():
        import tensorflow as tf
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tf
