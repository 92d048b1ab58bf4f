"""When a quantized variant is worse than it should be, its warnings say why."""

from __future__ import annotations

from edgepack.compress.converter import float_file
from edgepack.compress.diagnose import explain
from edgepack.compress.flatgraph import quantization_of
from edgepack.compress.passes.base import Context, State
from edgepack.model import Agreement

# Half a point of accuracy is what int8 is held to; explaining costs a second conversion.
_DROP = 0.005
_TOP1 = 0.99
_SNR_DB = 20.0
_INTEGERS = ("int8", "int16x8", "mixed")


def why_worse(
    state: State, context: Context, agreement: Agreement, drop: float | None
) -> tuple[str, ...]:
    """Causes in words, likeliest first; nothing for a file that is near enough to the source.

    state: after the converting pass. drop: accuracy lost against the source, None where there
    is none. The file is held against a float one of the same network, so that what earlier
    passes changed is not put down to quantization.
    """
    content = state.tflite
    if content is None or not _is_poor(agreement, drop):
        return ()
    if quantization_of(content) not in _INTEGERS:
        return ()
    context.progress("looking for the cause of the lost quality")
    plain = float_file(State(network=state.network), context)
    return explain(plain, content, context.dataset)


def _is_poor(agreement: Agreement, drop: float | None) -> bool:
    if drop is not None and drop >= _DROP:
        return True
    if agreement.top1_agreement is not None:
        return agreement.top1_agreement < _TOP1
    return agreement.snr_db is not None and agreement.snr_db < _SNR_DB
