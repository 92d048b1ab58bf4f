"""Why a quantized model is worse than its float one, in words.

Both are run on the same samples with every tensor in view (`evidence`), and the known ways
in which eight bits go wrong are looked for, each with a measure of its own:

- dead scale: the range set for a tensor is far wider than its values, or next to nothing;
- saturated activations: the data leave the ranges that the calibration data set;
- concat scales: a concatenation forces one scale on inputs of very different ranges;
- outlier channel: one channel's range leaves the others a few of the 256 levels;
- sensitive operators: a normalization or softmax that was decomposed and quantized.

What none of these explains is placed: the layer at which the two part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgepack.compress.evidence import Case, Evidence, gather
from edgepack.compress.flatgraph import FlatGraph
from edgepack.compress.normalization import (
    MIXING,
    SENSITIVE,
    downstream,
    entering,
    normalizing,
)
from edgepack.data import Dataset
from edgepack.data.dataset import Array

Cause = Literal[
    "dead scale",
    "saturated activations",
    "concat scales",
    "outlier channel",
    "sensitive operators",
    "unknown",
]
# A share of 1/16 of the range leaves 16 of 256 levels: four bits, below which nets that were
# not trained for it lose accuracy (Krishnamoorthi, "Quantizing deep convolutional networks
# for efficient inference", 2018).
_FEW = 16.0
# Healthy int8 nets give 25 to 45 dB here; at 20 dB the noise is a tenth of the signal.
_POOR_DB = 20.0
_DROP_DB = 6.0
_CLIPPED = 0.01
_SAMPLES = 16
# Their output scales are fixed by the TFLite quantization specification, whatever the data.
_FIXED = frozenset({"SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause, the layer (tensor name) it is at, and a sentence with its numbers."""

    cause: Cause
    layer: str
    text: str


def explain(float_model: bytes, quantized: bytes, dataset: Dataset) -> tuple[str, ...]:
    """Sentences that say why `quantized` is worse than `float_model`, the likeliest first.

    Runs both on up to 16 evaluation samples on the host; call it when the two disagree.
    """
    rows = slice(0, min(_SAMPLES, dataset.test_samples))
    found = diagnose(float_model, quantized, dataset.real("test", rows))
    return tuple(f"{finding.cause}: {finding.text}" for finding in found)


def diagnose(
    float_model: bytes, quantized: bytes, inputs: Mapping[str, Array]
) -> tuple[Finding, ...]:
    """The causes found, the likeliest first; empty for a healthy model.

    inputs: by signature name, first axis samples, real values.
    """
    case = gather(float_model, quantized, inputs)
    detectors = (_ranges, _concats, _outliers, _operators)
    found = [finding for detector in detectors for finding in detector(case)]
    return tuple(found) or tuple(_parting(case))


def _ranges(case: Case) -> Iterator[Finding]:
    """Ranges that do not fit the values: dead scales, or saturation when the data differ."""
    narrow = [e for e in _quantized(case) if _is_narrow(e)]
    inputs = [e for e in narrow if e.tensor.index in _entry(case.graph)]
    if narrow and (inputs or len(narrow) > len(list(_quantized(case))) / 2):
        first = (inputs or narrow)[0]
        yield Finding(
            cause="saturated activations",
            layer=first.tensor.name,
            text=f"{first.clipped / first.values:.0%} of the values of {_name(first)} lie outside "
            f"the range set by calibration, and so at {len(narrow)} tensors: the calibration "
            "samples are unlike the data",
        )
        return
    for evidence in narrow:
        dead = _width(evidence) < evidence.span / _FEW
        yield Finding(
            cause="dead scale" if dead else "saturated activations",
            layer=evidence.tensor.name,
            text=f"the range of {_name(evidence)} is {_width(evidence):.3g} wide, its values "
            f"take {evidence.span:.3g}: {evidence.clipped / evidence.values:.0%} of them are cut",
        )
    yield from _wide(case)


def _wide(case: Case) -> Iterator[Finding]:
    for evidence in _quantized(case):
        group = [case.evidence[i] for i in case.groups[evidence.tensor.index] if i in case.evidence]
        span = max(member.span for member in group)
        if _is_fixed(case, evidence) or span == 0:
            continue
        if _width(evidence) >= _FEW * span:
            yield Finding(
                cause="dead scale",
                layer=evidence.tensor.name,
                text=f"the range of {_name(evidence)} is {_width(evidence):.3g} wide, its values "
                f"take {span:.3g}: they share {255 * span / _width(evidence):.0f} of 256 levels",
            )


def _concats(case: Case) -> Iterator[Finding]:
    """Concatenations whose smallest input is left with a few levels by the largest."""
    for op in case.graph.ops:
        if op.kind != "CONCATENATION":
            continue
        parts = [case.evidence.get(t.index) for t in case.graph.activations(op)]
        spans = [part for part in parts if part is not None and part.span > 0]
        if len(spans) < 2 or not spans[0].tensor.quantized:
            continue
        largest, smallest = max(spans, key=_span), min(spans, key=_span)
        levels = 255 * smallest.span / largest.span
        if largest.span >= _FEW * smallest.span and not _outlier(largest):
            yield Finding(
                cause="concat scales",
                layer=case.graph.name(op),
                text=f"'{short(case.graph.name(op))}' joins {_name(largest)}, "
                f"{largest.span:.3g} wide, with {_name(smallest)}, {smallest.span:.3g} wide, "
                f"on one scale: the second keeps {levels:.0f} of 256 levels",
            )


def _outliers(case: Case) -> Iterator[Finding]:
    """Channels that leave the others a few levels, where layers with weights make them."""
    inside = normalizing(case.graph)
    for evidence in _quantized(case):
        op = case.graph.producers.get(evidence.tensor.index)
        elementwise = op is not None and op.kind in ("MUL", "ADD", "SUB") and op not in inside
        if (op is None or op.kind in MIXING or elementwise) and _outlier(evidence):
            channel = int(np.argmax(evidence.spans))
            typical = float(np.median(evidence.spans[evidence.spans > 0]))
            yield Finding(
                cause="outlier channel",
                layer=evidence.tensor.name,
                text=f"channel {channel} of {_name(evidence)} is {evidence.spans[channel]:.3g} "
                f"wide, the median channel {typical:.3g}: most channels keep "
                f"{255 * typical / _width(evidence):.0f} of 256 levels",
            )


def _operators(case: Case) -> Iterator[Finding]:
    """Normalizations and inner softmaxes in integers after which the signal is lost."""
    for op in case.graph.ops:
        inner = op.kind == "SOFTMAX" and op.outputs[0] not in case.graph.outputs
        if op.kind not in SENSITIVE and not inner:
            continue
        before = [
            case.evidence[t.index] for t in entering(case.graph, op) if t.index in case.evidence
        ]
        after = [
            case.evidence[index]
            for step in downstream(case.graph, op, 3)
            for index in step.outputs
            if index in case.evidence and case.evidence[index].tensor.quantized
        ]
        if not before or not after:
            continue
        start, end = max(e.snr_db for e in before), min(e.snr_db for e in after)
        if end < _POOR_DB and start - end >= _DROP_DB:
            yield Finding(
                cause="sensitive operators",
                layer=case.graph.name(op),
                text=f"'{short(case.graph.name(op))}' ({op.kind}, part of a normalization or "
                f"softmax) in integers takes the signal from {start:.0f} dB to {end:.0f} dB: "
                "keep it in float or int16 ('mixed')",
            )


def _parting(case: Case) -> Iterator[Finding]:
    """The operator that loses most signal, when the outputs are poor and nothing explains it."""
    outputs = [case.evidence[i] for i in case.graph.outputs if i in case.evidence]
    if not outputs or min(e.snr_db for e in outputs) >= _POOR_DB:
        return
    losses = list(_losses(case))
    if losses:
        loss, evidence = max(losses, key=lambda pair: pair[0])
        yield Finding(
            cause="unknown",
            layer=evidence.tensor.name,
            text=f"no known cause; float and integers part most at {_name(evidence)}, which loses "
            f"{loss:.0f} dB and leaves {evidence.snr_db:.0f} dB",
        )


def _losses(case: Case) -> Iterator[tuple[float, Evidence]]:
    for op in case.graph.ops:
        before = [
            case.evidence[t.index] for t in case.graph.activations(op) if t.index in case.evidence
        ]
        after = case.evidence.get(op.outputs[0])
        if before and after is not None:
            yield min(e.snr_db for e in before) - after.snr_db, after


def _quantized(case: Case) -> Iterator[Evidence]:
    """Evidence for the integer tensors, in the order in which they are made."""
    order = [*case.graph.inputs, *(index for op in case.graph.ops for index in op.outputs)]
    for index in order:
        evidence = case.evidence.get(index)
        if evidence is not None and evidence.tensor.quantized and evidence.span > 0:
            yield evidence


def _is_narrow(evidence: Evidence) -> bool:
    """Whether clipping costs the tensor its signal, and not a few stray values."""
    return evidence.clipped > _CLIPPED * evidence.values and evidence.own_snr_db < _POOR_DB


def _is_fixed(case: Case, evidence: Evidence) -> bool:
    makers = (case.graph.producers.get(i) for i in case.groups[evidence.tensor.index])
    return any(op is not None and op.kind in _FIXED for op in makers)


def _outlier(evidence: Evidence) -> bool:
    """Whether one channel is far wider than the median one (channels without values left out)."""
    spans = evidence.spans[evidence.spans > 0]
    return len(spans) >= 3 and float(spans.max()) >= _FEW * float(np.median(spans))


def _entry(graph: FlatGraph) -> set[int]:
    """The model's inputs, with what a leading QUANTIZE makes of them."""
    direct = [op for op in graph.ops if op.kind == "QUANTIZE" and op.inputs[0] in graph.inputs]
    return {*graph.inputs, *(index for op in direct for index in op.outputs)}


def _width(evidence: Evidence) -> float:
    low, high = evidence.tensor.limits
    return high - low


def _span(evidence: Evidence) -> float:
    return evidence.span


def short(name: str) -> str:
    """A tensor's name as people know it: the first of the operators that were fused into it,
    without the model's own scope ("functional_1/conv/Relu;functional_1/…" is "conv/Relu")."""
    first = name.split(";")[0].split(":")[0].removeprefix("serving_default_")
    if first == "StatefulPartitionedCall":  # what the converter calls a model's outputs
        return "output"
    parts = first.split("/")
    return "/".join(parts[1:]) if len(parts) > 2 else first


def _name(evidence: Evidence) -> str:
    return f"'{short(evidence.tensor.name)}'"
