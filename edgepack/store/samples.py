"""Raw samples as one compact blob.

zlib of: the number of rounds and the length of each (little-endian uint32), then all samples
in order in nanoseconds (little-endian uint64).
"""

from __future__ import annotations

import sys
import zlib
from array import array

Rounds = tuple[tuple[int, ...], ...]


def pack(rounds: Rounds) -> bytes:
    """The rounds as a blob.

    Raises:
        OverflowError: a sample is negative or needs more than 64 bits.
    """
    lengths = array("I", [len(rounds), *(len(values) for values in rounds)])
    samples = array("Q", [sample for values in rounds for sample in values])
    return zlib.compress(_little(lengths) + _little(samples))


def unpack(blob: bytes) -> Rounds:
    """The rounds that `pack` was given.

    Raises:
        ValueError: the blob is damaged.
    """
    try:
        data = zlib.decompress(blob)
        count = int.from_bytes(data[:4], "little")
        head = 4 * (1 + count)
        lengths, samples = array("I"), array("Q")
        lengths.frombytes(data[4:head])
        samples.frombytes(data[head:])
    except (zlib.error, ValueError) as error:
        raise ValueError(f"damaged samples: {error}") from error
    for values in (lengths, samples):
        if sys.byteorder == "big":
            values.byteswap()
    if len(lengths) != count or sum(lengths) != len(samples):
        raise ValueError("damaged samples: the rounds do not add up")
    made, start = [], 0
    for length in lengths:
        made.append(tuple(samples[start : start + length]))
        start += length
    return tuple(made)


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
