"""What the interpreter computes is kept; what it says of itself is not shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"

_INFER = """
import pathlib, sys
import numpy as np
from edgepack.compress.tracing import infer
content = pathlib.Path(sys.argv[1]).read_bytes()
made = infer(content, {"image": np.zeros((2, 12, 12, 8), "float32")})
print([len(rows) for rows in made.values()])
"""


def test_xnnpack_does_not_tell_of_itself() -> None:
    """In a process of its own: it does so once a process."""
    done = subprocess.run(
        [sys.executable, "-c", _INFER, str(DATA / "convolution_small.tflite")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[2]\n", "")
