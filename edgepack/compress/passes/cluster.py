"""`clusterNN`: each kernel's weights share NN values, by TFMOT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.compress.tfmot import host


@dataclass(frozen=True, kw_only=True)
class ClusterParams(host.TuningParams):
    """clusters: values a kernel may have, zero included. init: where they start.

    per_channel: as many values for each output channel of a two-dimensional convolution
        rather than for its whole kernel: nearer to the source, and less to compress.
    """

    clusters: Annotated[int, Field(ge=3, le=256)] = 16
    init: Literal["kmeans++", "linear", "density"] = "kmeans++"
    per_channel: bool = False


class Cluster(Pass):
    """Weight sharing: the file compresses better, and runs no faster."""

    name = "cluster"
    summary = "weights share a few values per kernel, with a short fine-tune"
    tokens = (Token("cluster", number="clusters", required=True),)
    Params: ClassVar[type[ClusterParams]] = ClusterParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`."""
        p: ClusterParams = self.params
        params = {
            "clusters": p.clusters,
            "init": p.init,
            "per_channel": p.per_channel,
            "keep_zeros": state.sparse,
        }
        result = host.run("cluster", state.network, context, p, params)
        notes = host.left_out_notes(result.report, "not clustered")
        notes.append(
            f"Weights share up to {p.clusters} values a {'channel' if p.per_channel else 'kernel'}:"
            " the file is as large and as fast as before, and compresses better."
        )
        after = replace(state, network=result.network, clusters=p.clusters)
        return after, (*notes, *result.notes)
