"""`pruneNN`: the smallest weights of each kernel become zero, by TFMOT."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgepack.compress import zeros
from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.compress.tfmot import host

_DEFAULT_SPARSITY = 0.5


@dataclass(frozen=True, kw_only=True)
class PruneParams(host.TuningParams):
    """What becomes zero, by one of three, 0.5 of `sparsity` where none is given.

    sparsity: share of each kernel. threshold: weights with |w| up to it. pattern: "2:4" for
        two of each four neighbours, which some accelerators use.
    schedule: "polynomial" grows the zeros over the first half of the steps, "constant" makes
        them at once, as a pattern always does.
    block: [height, width] of a kernel's blocks that become zero together; pooling: how a
        block's weights stand for it. Only for kernels of two dimensions.
    """

    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(gt=0)] | None = None
    pattern: str | None = None
    schedule: Literal["polynomial", "constant"] = "polynomial"
    block: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    pooling: Literal["average", "max"] = "average"

    def __post_init__(self) -> None:
        given = [n for n in ("sparsity", "threshold", "pattern") if getattr(self, n) is not None]
        if not given:
            object.__setattr__(self, "sparsity", _DEFAULT_SPARSITY)
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}")
        if self.block is not None and self.sparsity is None:
            raise ValueError(f"block goes with sparsity, not with {given[0]}")
        if self.pattern is not None and not _is_pattern(self.pattern):
            raise ValueError("pattern must be like '2:4', fewer zeros than weights")


def _is_pattern(text: str) -> bool:
    match = re.fullmatch(r"(\d{1,2}):(\d{1,2})", text)
    return match is not None and 0 < int(match[1]) < int(match[2])


class PruneMagnitude(Pass):
    """Unstructured pruning: the file compresses better; few CPUs run it faster."""

    name = "prune.magnitude"
    summary = "zeros by magnitude, with a short fine-tune"
    tokens = (Token("prune", number="sparsity", factor=0.01, required=True),)
    Params: ClassVar[type[PruneParams]] = PruneParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        p: PruneParams = self.params
        wanted = {"sparsity", "threshold", "pattern", "schedule", "block", "pooling"}
        params = {key: value for key, value in asdict(p).items() if key in wanted}
        result = host.run("prune", state.network, context, p, params)
        left_out = host.left_out_notes(result.report, "not pruned")
        meaning = zeros.explain(result.network)
        after, undone = state.retrained(result.network)
        return replace(after, sparse=True), (*left_out, *meaning, *result.notes, *undone)
