"""Runs as one file that is verified: what `runs import` reads.

    edgepack-runs/1 sha256:<of all that follows> bytes:<of all that follows>\\n
    gzip of JSON lines, one run each

Every byte counts: the first line has one spelling, and its digest covers the rest. There are
no names of files in it, so none can lead out of a folder; it is expanded in pieces and only
as far as `MOST_BYTES`. Packages are in it by description, not with their `.tflite` files.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NoReturn

from edgepack import codec
from edgepack.errors import EdgepackError
from edgepack.exporters import whole_file
from edgepack.model import Run

MOST_BYTES = 1 << 30
"""Expanded bytes of an archive: more than a thousand runs with all their samples."""
MOST_OF_A_RUN = 128 << 20
_HEAD = re.compile(rb"edgepack-runs/1 sha256:([0-9a-f]{64}) bytes:([1-9]\d{0,11})\n")
_LONGEST_HEAD = 120
_PIECE = 1 << 16


def export(runs: Sequence[Run], target: str) -> str:
    """Write the runs as one archive. EP612."""
    documents = (json.dumps(codec.to_json(run), separators=(",", ":")) for run in runs)
    # No time in it: the same runs give the same bytes.
    packed = gzip.compress("".join(f"{each}\n" for each in documents).encode(), mtime=0)
    head = f"edgepack-runs/1 sha256:{sha256(packed).hexdigest()} bytes:{len(packed)}\n"
    with whole_file(target) as file:
        file.write(head.encode())
        file.write(packed)
    return f"{len(runs)} run{'s' * (len(runs) != 1)} in {len(head) + len(packed):,} bytes"


def read(source: Path) -> list[Run]:
    """The runs of an archive, all of them checked. EP611."""
    try:
        with source.open("rb") as file:
            _verify(file, source)
            runs = [_run(line, source) for line in _lines(file, source)]
    except OSError as error:
        _refuse(source, f"it cannot be read: {error.strerror}")
    if not runs:
        _refuse(source, "no run is in it")
    return runs


def _verify(file: BinaryIO, source: Path) -> None:
    """Check length and digest, and leave the file at its packed part."""
    head = _HEAD.fullmatch(file.readline(_LONGEST_HEAD))
    if head is None:
        _refuse(source, "it is no archive of runs, or its first line is damaged")
    start, digest, count = file.tell(), sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        count += len(piece)
    if count != int(head[2]):
        _refuse(source, f"{count} bytes follow the first line, which tells of {int(head[2])}")
    if digest.hexdigest() != head[1].decode():
        _refuse(source, "its digest is another: it was damaged or changed")
    file.seek(start)


def _lines(file: BinaryIO, source: Path) -> Iterator[bytes]:
    held, total = bytearray(), 0
    for piece in _expanded(file, source):
        total += len(piece)
        held += piece
        if total > MOST_BYTES or len(held) > MOST_OF_A_RUN:
            _refuse(source, "it expands to more than any runs need")
        *whole, rest = held.split(b"\n") if b"\n" in piece else [held]
        held = bytearray(rest)
        yield from map(bytes, whole)
    if held:
        _refuse(source, "its last line is not whole")


def _expanded(file: BinaryIO, source: Path) -> Iterator[bytes]:
    """What is packed, in pieces of bounded size however well it was packed."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        while packed := file.read(_PIECE):
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _PIECE)
                packed = unpacker.unconsumed_tail
            if unpacker.eof and (unpacker.unused_data or file.read(1)):
                _refuse(source, "something follows its end")
    except zlib.error as error:
        _refuse(source, f"it cannot be expanded: {error}")
    if not unpacker.eof:
        _refuse(source, "its end is missing")


def _run(line: bytes, source: Path) -> Run:
    try:
        return codec.from_json(Run, json.loads(line))
    except (ValueError, RecursionError) as error:
        _refuse(source, f"a line of it is no run: {str(error)[:200]}")


def _refuse(source: Path, what: str) -> NoReturn:
    raise EdgepackError(
        "EP611", what, where=str(source), hint="Export it again: edgepack runs export RUN -o FILE."
    )
