"""`mixed`: int8, but for the few operators that need more for the quality asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from edgepack.compress.calibration import measure_ranges
from edgepack.compress.calibration_data import SampleParams, draw, typed
from edgepack.compress.converter import float_file
from edgepack.compress.diagnose import diagnose, short
from edgepack.compress.flatbuffer_quantizer import Rule, edge_quantize
from edgepack.compress.on_devices import unsuited
from edgepack.compress.passes.base import Context, Pass, State, Token
from edgepack.compress.sensitivity import Mixed, Search
from edgepack.data.dataset import Array
from edgepack.errors import EdgepackError

_DIAGNOSED = 32


@dataclass(frozen=True, kw_only=True)
class MixedParams(SampleParams):
    """max_drop: accuracy that may be lost, absolute, on `evaluate` samples kept out of the
    calibration; min_agreement: used instead where there are no class labels: the share of
    samples with float's class, or 1 - noise power / signal power where there are no classes.

    fallback: what the kept operators compute in. trials: how many quantized files may be
    tried. 0.005 is the half point that int8 is held to.
    """

    max_drop: Annotated[float, Field(ge=0, le=1)] = 0.005
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.99
    fallback: Literal["float", "int16"] = "float"
    evaluate: Annotated[int, Field(ge=16, le=100_000)] = 512
    trials: Annotated[int, Field(ge=4, le=10_000)] = 200


class QuantizeMixed(Pass):
    """Keeps the fewest operators in float (or int16) that bring quality within the drop."""

    name = "quantize.mixed"
    summary = "int8 with the fewest operators in float or int16 that the quality needs"
    tokens = (Token("mixed"),)
    converts = True
    Params = MixedParams

    def apply(self, state: State, context: Context) -> tuple[State, tuple[str, ...]]:
        """See `Pass.apply`. EP206 when the quality cannot be reached; EP105 on devices' data."""
        params: MixedParams = self.params
        if context.calibrator is not None:
            raise unsuited("'mixed'", "it judges its trials on samples that this host must have")
        content = float_file(state, context)
        data = draw(state.network, context, params)
        rows = data.held_out[: params.evaluate]
        notes = data.notes
        if not len(rows):
            raise _too_few(params.samples)
        labels = self._labels(context, data.split)
        inputs = typed(state.network, context, data.split, rows)
        ranges = measure_ranges(content, data.inputs)
        search = Search(
            float_model=content,
            ranges=ranges,
            inputs=inputs,
            labels=None if labels is None else labels[rows],
            goal=params.max_drop if labels is not None else 1 - params.min_agreement,
            fallback=params.fallback,
            trials=params.trials,
            progress=lambda done, total: context.progress("mixed: trials", done, total),
        )
        found = search.run()
        summary = _summary(found, params, labelled=labels is not None)
        few = {name: array[:_DIAGNOSED] for name, array in inputs.items()}
        causes: tuple[str, ...] = ()
        if found.kept:
            plain = edge_quantize(content, [Rule()], ranges)
            causes = tuple(f"{f.cause}: {f.text}" for f in diagnose(content, plain, few))
        return replace(state, tflite=found.content), (*notes, summary, *causes)

    def _labels(self, context: Context, split: str) -> Array | None:
        data = context.dataset
        return None if data.task != "classification" else getattr(data, f"y_{split}")


def _too_few(samples: int) -> EdgepackError:
    return EdgepackError(
        "EP105",
        f"All samples went into the calibration (samples = {samples}): none are left to judge by",
        hint="Lower the pass's parameter 'samples', or give more training data.",
    )


def _summary(found: Mixed, params: MixedParams, *, labelled: bool) -> str:
    unit = "of accuracy" if labelled else "of agreement"
    before, after = f"{found.int8.loss:.4f} {unit}", f"{found.score.loss:.4f}"
    if not found.kept:
        return f"Plain int8 loses {before}: nothing had to be kept in {params.fallback}."
    names = ", ".join(short(name) for name in found.kept)
    return (
        f"Plain int8 loses {before}; with {len(found.kept)} operators in {params.fallback} "
        f"({names}) it is {after}, found in {found.trials} trials with ai-edge-quantizer."
    )
