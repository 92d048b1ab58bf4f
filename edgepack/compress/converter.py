"""The TensorFlow Lite converter as the quantizing passes use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.passes.base import Context, State
from edgepack.errors import EdgepackError


def convert(state: State, context: Context, configure: Callable[[Any, Any], None]) -> State:
    """The state with its network as a `.tflite`. EP204 when the converter refuses.

    configure: called with (tf, converter) to set what the pass wants.
    """
    folder = context.workdir / "saved_model"
    try:
        state.network.export(folder)
    except Exception as error:
        raise _refusal(context, error) from error
    content = convert_saved_model(folder, context, configure)
    return replace(state, tflite=content)


def convert_saved_model(
    folder: Path, context: Context, configure: Callable[[Any, Any], None]
) -> bytes:
    """A SavedModel as a `.tflite`; see `convert`."""
    tf = tensorflow()
    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        configure(tf, converter)
        with quiet():
            return bytes(converter.convert())
    except Exception as error:
        raise _refusal(context, error) from error


def _refusal(context: Context, error: Exception) -> EdgepackError:
    return EdgepackError(
        "EP204",
        f"The converter refused recipe '{context.recipe}': {_reason(error)}",
        hint="Try 'dynamic' or 'float', or name the layer in an issue.",
    )


def _reason(error: Exception) -> str:
    """The first telling line of the converter's long message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line.lower()]
    return (telling or lines or [type(error).__name__])[0][:300]


def float_file(state: State, context: Context) -> bytes:
    """The state's network as a float `.tflite`, for quantizers that start from one."""
    content = convert(state, context, lambda tf, converter: None).tflite
    assert content is not None
    return content
