"""What native code says on standard error while it is watched."""

import contextlib
import os
import tempfile
from typing import Iterator


class Captured:
    """text: all that was said, once the block has ended."""

    text = ""


@contextlib.contextmanager
def captured() -> Iterator[Captured]:
    """Keep what the process writes to file descriptor 2, and pass it on at the end.

    Through a file and not a pipe: native code that logs while it holds the interpreter's lock
    would wait for ever for a reader.
    """
    log = Captured()
    real = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(real, 2)
            file.seek(0)
            said = file.read()
            log.text = said.decode("utf-8", "replace")
            with contextlib.suppress(OSError):
                os.write(real, said)
            os.close(real)
