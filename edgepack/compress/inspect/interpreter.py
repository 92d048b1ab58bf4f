"""What the interpreter says of a file once it is loaded: its memory plan, and XNNPACK's share."""

from __future__ import annotations

import platform
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgepack.compress.inspect.document import Arena, Delegate

# Parts of one arena lie next to each other, with holes that best fit leaves. A hole is where
# work space of an operator was, at most this large and no larger than the largest tensor:
# small tensors far apart are pieces of the heap.
_HOLE_BYTES = 64 * 2**10


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """arena: None when planning failed. taken: indices of the operators that XNNPACK took."""

    arena: Arena
    taken: frozenset[int]
    partitions: int
    ops: int


def load(path: Path, constants: frozenset[int]) -> Loaded:
    """Load the file twice: without delegates for the memory plan, with XNNPACK for its share.

    constants: indices of the tensors whose data is in the file.
    """
    plain = _interpreter(path, delegated=False)
    delegated = _interpreter(path, delegated=True)
    count = len(plain._get_ops_details())
    details = delegated._get_ops_details()
    groups = [op for op in details[count:] if op["op_name"] == "DELEGATE"]
    taken = {index for group in groups for index in _members(group, details[:count], constants)}
    return Loaded(
        arena=_arena(plain, constants),
        taken=frozenset(taken),
        partitions=len(groups),
        ops=count,
    )


def delegate(loaded: Loaded, left: tuple[str, ...]) -> Delegate:
    """XNNPACK's share as the document has it; left: the names of the operators left out."""
    return Delegate(
        name="XNNPACK",
        runtime=f"ai-edge-litert {version('ai-edge-litert')}",
        machine=platform.machine(),
        partitions=loaded.partitions,
        ops_total=loaded.ops,
        ops_delegated=len(loaded.taken),
        left=left,
    )


def _interpreter(path: Path, *, delegated: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.AUTO if delegated else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_path=str(path), num_threads=1, experimental_op_resolver_type=kind
        )
    interpreter.allocate_tensors()
    return interpreter


def _members(group: Any, ops: list[Any], constants: frozenset[int]) -> set[int]:
    """Operators on the way from a delegate's inputs to its outputs.

    The runtime keeps replaced operators in its list and appends one DELEGATE operator a
    group; what a group computes is what its outputs need and its inputs do not give.
    """
    makers = {int(tensor): op for op in ops for tensor in op["outputs"]}
    given = {int(tensor) for tensor in group["inputs"]} | constants
    members: set[int] = set()
    waiting = [int(tensor) for tensor in group["outputs"]]
    while waiting:
        tensor = waiting.pop()
        op = makers.get(tensor)
        if op is None or tensor in given or op["index"] in members:
            continue
        members.add(int(op["index"]))
        waiting.extend(int(source) for source in op["inputs"] if source >= 0)
    return members


def _arena(interpreter: Any, constants: frozenset[int]) -> Arena:
    """Read the plan from where the tensors were put: the spans that they cover together."""
    spans: list[tuple[int, int]] = []
    unplanned = 0
    for detail in interpreter.get_tensor_details():
        if detail["index"] in constants:
            continue
        try:
            view = interpreter.tensor(detail["index"])()
        except ValueError:  # no memory yet: its size depends on values
            unplanned += 1
            continue
        start = int(view.__array_interface__["data"][0])
        spans.append((start, start + view.nbytes))
    return Arena(bytes=_covered(spans), unplanned=unplanned)


def _covered(spans: list[tuple[int, int]]) -> int:
    """Total length of the union, with holes (see `_HOLE_BYTES`) counted in."""
    total, reached = 0, None
    hole = min(_HOLE_BYTES, max((end - start for start, end in spans), default=0))
    for start, end in sorted(spans):
        if reached is None or start > reached + hole:
            total += end - start
            reached = end
        elif end > reached:
            total += end - reached
            reached = end
    return total
