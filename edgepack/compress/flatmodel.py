"""A `.tflite` file as the objects of its flatbuffer schema, with all that belongs to it inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepack.data.dataset import Array


def unpacked(content: bytes) -> Any:
    """The file as a `ModelT`; raises what the flatbuffer library raises on a damaged one.

    Weights, and options of custom operators, may lie behind the flatbuffer, where `offset` and
    `size` say (made for files above 2 GB; ai-edge-quantizer writes files from 256 KiB of weights
    on so). They are taken in, so that whoever reads the objects sees them, and whoever packs them
    again loses nothing. ValueError for a place that is not in the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers or []:
        if buffer.offset > 1:  # 0 and 1 stand for none
            buffer.data = _inside(content, buffer.offset, buffer.size)
            buffer.offset = buffer.size = 0
    for graph in model.subgraphs or []:
        for operator in graph.operators or []:
            if operator.largeCustomOptionsOffset > 1:
                operator.customOptions = _inside(
                    content, operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
                )
                operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def _inside(content: bytes, offset: int, size: int) -> Array:
    if offset + size > len(content):
        raise ValueError(f"{size} bytes at {offset} are not in a file of {len(content)}")
    return np.frombuffer(content, np.uint8, size, offset)
