"""Keras files made for real, hostile and harmless, and what is said of them."""

from __future__ import annotations

import base64
import io
import json
import marshal
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgepack.compress import loading, sources
from edgepack.errors import EdgepackError


def refused(path: Path, code: str, *, allow: str | None = None, arch: str | None = None) -> str:
    """What the refusal says."""
    with pytest.raises(EdgepackError) as caught:
        loading.load(sources.identify(str(path), arch), allow)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def layer(kind: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": f"a_{kind.lower()}", **config}, **more}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = layer("InputLayer", {"batch_input_shape": [None, 4], "dtype": "float32"})
    return layer("Sequential", {"layers": [first, *layers]}, module="keras")


def writing_lambda(marker: Path) -> dict[str, Any]:
    """A Lambda layer in Keras 2's form, whose function writes the marker file."""
    code = compile(f"lambda x: open({str(marker)!r}, 'w').close() or x", "hostile", "eval")
    function = next(c for c in code.co_consts if hasattr(c, "co_code"))
    text = base64.b64encode(marshal.dumps(function)).decode()
    shape = {"output_shape": [4], "output_shape_type": "raw", "output_shape_module": None}
    function_of = {"function": [text, None, None], "function_type": "lambda", "module": "builtins"}
    config = {**function_of, **shape, "arguments": {}}
    return layer("Lambda", config)


def write_h5(path: Path, architecture: Any | None) -> Path:
    with h5py.File(path, "w") as file:
        if architecture is not None:
            file.attrs["model_config"] = json.dumps(architecture)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([], "S1")
    return path


def h5_bytes() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars")
    return buffer.getvalue()


def write_archive(
    path: Path, architecture: Any, entries: dict[str, bytes] | None = None, version: str = "3.5.0"
) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(architecture))
        content = {"model.weights.h5": h5_bytes(), **(entries or {})}
        for name, data in content.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path
