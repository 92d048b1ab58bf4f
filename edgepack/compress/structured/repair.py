"""After a cut: give later layers back the statistics that they were trained with.

Two repairs, both from data and without gradients:
- A layer that read a removed channel loses its mean contribution. That mean times the
  layer's weights is added to its bias. Exact where the channel was constant and the layer
  does not pad; otherwise the best constant in the least-squares sense.
- Batch normalizations estimate their mean and variance anew, in the cut model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepack.compress.graph import Call, feed, rebuild, trace
from edgepack.compress.structured.anatomy import Anatomy, Mask
from edgepack.compress.structured.ledger import Role, Slot
from edgepack.compress.structured.rules.registry import kind_of
from edgepack.compress.structured.samples import Samples

# The kinds whose kernel is (..., in, out) and whose bias adds what a constant input gives.
_BIASED = ("Dense", "Conv1D", "Conv2D", "Conv3D")
# So few samples on their own have too small a variance: that of one is zero.
_FEW = 16


def repair(anatomy: Anatomy, mask: Mask, model: Any, samples: Samples) -> None:
    """Change biases and batch normalizations of `model` in place.

    Args:
        anatomy: of the model before the cut.
        mask: the units that were removed.
        model: the cut model, with the layer names of the anatomy's graph.
        samples: inputs to take the statistics from; some hundreds are enough.
    """
    _add_means_to_biases(anatomy, mask, model, samples)
    _estimate_batch_norms(model, samples)


def batches(samples: Samples) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The samples' inputs, batch by batch; a few left over join the batch before them."""
    starts = list(range(0, samples.count, samples.batch))
    if len(starts) > 1 and samples.count - starts[-1] < min(_FEW, samples.batch):
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], samples.count], strict=True):
        yield {name: values[start:stop] for name, values in samples.inputs.items()}


def _add_means_to_biases(anatomy: Anatomy, mask: Mask, model: Any, samples: Samples) -> None:
    bias_slots = {(id(s.op), s.weight): s for s in anatomy.slots if s.role is Role.OTHER}
    readers = {
        id(slot.op): slot
        for slot in anatomy.slots
        if slot.role is Role.IN and anatomy.removed(slot.atoms, mask).any()
    }
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in anatomy.graph.calls:
        reader = readers.get(id(call.op))
        if reader and kind_of(call.op) in _BIASED and call.op.bias is not None:
            calls[id(call.op)].append(call)
    for key, means in _input_means(anatomy, calls, samples).items():
        slot = readers[key]
        bias = next(i for i, w in enumerate(slot.op.weights) if w is slot.op.bias)
        lost = _lost(slot, means, anatomy.removed(slot.atoms, mask))
        stay = ~anatomy.removed(bias_slots[key, bias].atoms, mask)
        layer = model.get_layer(slot.op_name)
        layer.bias.assign(np.asarray(layer.bias) + lost[stay])


def _lost(slot: Slot, means: npt.NDArray[Any], gone: Mask) -> npt.NDArray[Any]:
    """What the removed inputs added on average to each output of the layer."""
    kernel = np.asarray(slot.op.weights[slot.weight])
    summed = kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0)
    result: npt.NDArray[Any] = means[gone] @ summed[gone]
    return result


def _input_means(
    anatomy: Anatomy, calls: dict[int, list[Call]], samples: Samples
) -> dict[int, npt.NDArray[Any]]:
    """For each layer the mean of each of its input channels, over samples and positions."""
    import keras

    if not calls:
        return {}
    probes = []
    for several in calls.values():
        means = []
        for call in several:
            tensor = call.arguments.keras_tensors[0]
            first = getattr(call.op, "data_format", None) == "channels_first"
            axis = 1 if first else len(tensor.shape) - 1
            means.append(keras.ops.mean(tensor, [a for a in range(len(tensor.shape)) if a != axis]))
        probes.append(sum(means[1:], means[0]) / len(means))
    probe = keras.Model(anatomy.graph.model._inputs_struct, probes)
    totals = [np.zeros(p.shape) for p in probes]
    for batch in batches(samples):
        weight = len(next(iter(batch.values()))) / samples.count
        parts = keras.tree.flatten(probe(feed(probe, batch), training=False))
        for total, part in zip(totals, parts, strict=True):
            total += np.asarray(part) * weight
    return dict(zip(calls, totals, strict=True))


def _estimate_batch_norms(model: Any, samples: Samples) -> None:
    """Average the batches' statistics; every other layer stays in inference mode.

    Frozen ones too: what reaches them is no longer what their statistics are of.
    """
    graph = trace(model)
    norms = {id(op): op for op in graph.operations if kind_of(op) == "BatchNormalization"}
    learning = list(norms.values())
    if not learning:
        return
    calls = tuple(replace(call, training=id(call.op) in norms) for call in graph.calls)
    runner = rebuild(replace(graph, calls=calls), lambda op, name: op)
    before = [(op.momentum, op.trainable) for op in learning]
    for op in learning:
        op.trainable = True  # Keras runs a frozen one in inference mode whatever it is told
    seen = 0
    for batch in batches(samples):
        size = len(next(iter(batch.values())))
        for op in learning:
            op.momentum = seen / (seen + size)  # a batch counts by its samples
        runner(feed(runner, batch))
        seen += size
    for op, (momentum, trainable) in zip(learning, before, strict=True):
        op.momentum, op.trainable = momentum, trainable
