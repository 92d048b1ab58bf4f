"""Affine quantization of a whole tensor: real = scale * (q - zero_point).

https://ai.google.dev/edge/litert/models/quantization_spec
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgepack.data.dataset import Array


def quantize(real: Array, scale: float, zero_point: int, dtype: npt.DTypeLike) -> Array:
    """The integers of `dtype` nearest to real numbers; what is outside its range is clipped."""
    limits = np.iinfo(dtype)
    levels = np.rint(real.astype(np.float32) / np.float32(scale)) + zero_point
    clipped: Array = np.clip(levels, limits.min, limits.max).astype(dtype)
    return clipped


def dequantize(levels: Array, scale: float, zero_point: int) -> Array:
    """The real numbers, as float32, that integers stand for."""
    real: Array = (levels.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return real
