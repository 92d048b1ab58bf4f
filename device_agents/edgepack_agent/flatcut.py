"""A `.tflite` file cut off after one of its operations, by changing three numbers of it.

The file format is FlatBuffers: a vector says its own length, and a table where its vectors are.
So the first operations of a graph are had by writing a smaller number in front of the list of
operations; the outputs become a list that is appended to the file. Field numbers are those of
TFLite's schema, which never change.
"""

import struct
from typing import List, NamedTuple, Optional, Tuple

_SUBGRAPHS = 2  # of Model
_OUTPUTS, _OPERATORS = 2, 3  # of SubGraph
_OP_INPUTS, _OP_OUTPUTS = 1, 2  # of Operator


class Op(NamedTuple):
    """An operation's tensors; -1 is an input left out."""

    inputs: Tuple[int, ...]
    outputs: Tuple[int, ...]


class Graph:
    """The main graph of a file that a runtime has loaded before. struct.error where it is none."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        model = self._follow(0)
        graphs = self._field(model, _SUBGRAPHS)
        if graphs is None:
            raise struct.error("no graph")
        self._graph = self._follow(self._follow(graphs) + 4)
        operators = self._field(self._graph, _OPERATORS)
        self._list = None if operators is None else self._follow(operators)
        self.outputs = self._numbers(self._graph, _OUTPUTS)
        self.ops = [self._op(i) for i in range(self._number(self._list) if self._list else 0)]

    def _number(self, at: int, kind: str = "<I") -> int:
        return int(struct.unpack_from(kind, self._content, at)[0])

    def _follow(self, at: int) -> int:
        return at + self._number(at)

    def _field(self, table: int, number: int) -> Optional[int]:
        """Where the field is; None where the table leaves it out."""
        layout = table - self._number(table, "<i")
        entry = 4 + 2 * number
        if entry >= self._number(layout, "<H"):
            return None
        offset = self._number(layout + entry, "<H")
        return table + offset if offset else None

    def _numbers(self, table: int, number: int) -> Tuple[int, ...]:
        field = self._field(table, number)
        if field is None:
            return ()
        vector = self._follow(field)
        return struct.unpack_from("<%di" % self._number(vector), self._content, vector + 4)

    def _op(self, place: int) -> Op:
        assert self._list is not None
        table = self._follow(self._list + 4 + 4 * place)
        return Op(self._numbers(table, _OP_INPUTS), self._numbers(table, _OP_OUTPUTS))

    def ends(self, count: int) -> List[int]:
        """What the first `count` operations make that others need, or nobody: all of it becomes
        an output, so that no runtime leaves an operation out."""
        made = [tensor for op in self.ops[:count] for tensor in op.outputs if tensor >= 0]
        needed = {tensor for op in self.ops[:count] for tensor in op.inputs}
        later = {tensor for op in self.ops[count:] for tensor in op.inputs} | set(self.outputs)
        return [tensor for tensor in made if tensor in later or tensor not in needed]

    def cut(self, count: int) -> bytes:
        """The file with its first `count` operations alone."""
        field = self._field(self._graph, _OUTPUTS)
        if field is None or self._list is None:
            raise struct.error("a graph without outputs or operations")
        content = bytearray(self._content)
        content += bytes(-len(content) % 4)
        ends = self.ends(count)
        struct.pack_into("<I", content, self._list, count)
        struct.pack_into("<I", content, field, len(content) - field)
        return bytes(content + struct.pack("<%di" % (len(ends) + 1), len(ends), *ends))
