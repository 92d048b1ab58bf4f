"""The CPythons on which the agent is really run."""

from __future__ import annotations

import sys
from pathlib import Path

# What runs on which CPython: tflite-runtime ended with 3.11.
RUNTIME_OF = {
    "3.8": "tflite-runtime",
    "3.9": "tflite-runtime",
    "3.10": "tflite-runtime",
    "3.11": "tflite-runtime",
    "3.12": "ai-edge-litert",
    "3.13": "ai-edge-litert",
}


def interpreters() -> dict[str, Path]:
    """The CPythons 3.8 to 3.13 found here, by minor version: pyenv's, the system's, this one."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": Path(sys.executable)}
    for version in RUNTIME_OF:
        for path in (Path(f"/usr/bin/python{version}"), Path(f"/usr/local/bin/python{version}")):
            if path.exists():
                found[version] = path
    for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")):
        version = ".".join(path.parent.parent.name.split(".")[:2])
        if version in RUNTIME_OF:
            found[version] = path
    return {version: found[version] for version in RUNTIME_OF if version in found}
