"""From a device's times of operations to the model's."""

from __future__ import annotations

import re

from edgepack.model import OpTime
from edgepack.transport import results

# XNNPACK names its operators with the formats of activations (first) and weights: QS8 and QU8
# are int8 with one scale, QC8 with one a channel, QD8 is quantized anew at every inference.
_FORMATS = {
    "QD8": "hybrid",
    "QP8": "hybrid",
    "QS8": "int8",
    "QU8": "int8",
    "QC8": "int8",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
}
_FORMAT = re.compile(rf"\b({'|'.join(_FORMATS)})\b")


def op_times(event: results.Ops) -> tuple[OpTime, ...]:
    """The operations with their shares of the time of all of them."""
    total = sum(op.ns for op in event.ops) or 1
    return tuple(
        OpTime(
            name=op.name,
            index=op.index,
            partition=op.partition,
            ns=op.ns,
            share=op.ns / total,
            type=op.type or _type(op.name),
        )
        for op in event.ops
    )


def _type(name: str) -> str | None:
    found = _FORMAT.search(name)
    return _FORMATS[found[1]] if found else None
