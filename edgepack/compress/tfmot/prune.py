"""The task `prune`: zeros by magnitude while fine-tuning.

TFMOT makes them where a share, blocks or an M:N pattern are asked for. It knows no
thresholds; for these the masks are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepack.compress import bridge
from edgepack.compress.tfmot.tuning import Work, fine_tune, kernels
from edgepack.data.dataset import Array

NOT_BY_TFMOT = "TFMOT cannot prune such a layer"
# Why TFMOT leaves depthwise kernels alone: they hold few weights, each of which counts.
NO_KERNEL = "TFMOT prunes none of its kernels"
NOT_A_MATRIX = "blocks need a kernel of two dimensions"


def prune(work: Work) -> tuple[dict[str, list[Array]], dict[str, Any]]:
    """Weights with zeros, and a report: left_out, a list of [layer, reason]."""
    if work.params["threshold"] is not None:
        return _by_threshold(work)
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparsity

    options = _options(sparsity, work.params, work.steps)
    left_out: list[tuple[str, str]] = []

    def wrap(layer: Any) -> Any:
        # Layers without kernels stay bare: each wrapper costs a second of graph building.
        if not kernels(layer):
            return layer
        if work.params["block"] and any(len(weight.shape) != 2 for weight in kernels(layer)):
            left_out.append((layer.name, NOT_A_MATRIX))
            return layer
        try:
            wrapper = sparsity.prune_low_magnitude(layer, **options)
        except ValueError:
            left_out.append((layer.name, NOT_BY_TFMOT))
            return layer
        if not wrapper.layer.get_prunable_weights():
            left_out.append((layer.name, NO_KERNEL))
            return layer
        return wrapper

    pruned = tf_keras.models.clone_model(work.model, clone_function=wrap)
    fine_tune(work, pruned, [sparsity.UpdatePruningStep()])
    weights = bridge.read_weights(sparsity.strip_pruning(pruned))
    return weights, {"left_out": left_out}


def _options(sparsity: Any, params: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The arguments of TFMOT's `prune_low_magnitude`."""
    if params["pattern"] is not None:
        zeros, of = map(int, params["pattern"].split(":"))
        constant = sparsity.ConstantSparsity(zeros / of, 0, frequency=1)
        return {"pruning_schedule": constant, "sparsity_m_by_n": (zeros, of)}
    options: dict[str, Any] = {}
    if params["block"]:
        pooling = {"average": "AVG", "max": "MAX"}[params["pooling"]]
        options = {"block_size": tuple(params["block"]), "block_pooling_type": pooling}
    if params["schedule"] == "constant":
        schedule = sparsity.ConstantSparsity(params["sparsity"], 0, frequency=1)
    else:
        # Zeros grow over the first half, and the rest recovers.
        schedule = sparsity.PolynomialDecay(
            0.0, params["sparsity"], 0, max(1, steps // 2), frequency=max(1, steps // 20)
        )
    return {"pruning_schedule": schedule, **options}


def _by_threshold(work: Work) -> tuple[dict[str, list[Array]], dict[str, Any]]:
    """Every kernel weight with |w| <= threshold becomes zero and stays zero.

    With the polynomial schedule the threshold grows over the first half of the steps as
    TFMOT's sparsity does: threshold * (1 - (1 - t)^3).
    """
    import tensorflow as tf
    import tf_keras

    limit, gradual = work.params["threshold"], work.params["schedule"] == "polynomial"
    half = max(1, work.steps // 2)
    held = [weight for layer in work.model.layers for weight in kernels(layer)]

    class Masks(tf_keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Any = None) -> None:
            self.kept = [tf.ones_like(weight, tf.bool) for weight in held]
            self.shut(0.0 if gradual else 1.0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.shut(min(1.0, (batch + 1) / half) if gradual and batch < half else None)

        def shut(self, share: float | None) -> None:
            """Zero what is masked; a share of the schedule adds to the masks."""
            for number, weight in enumerate(held):
                if share is not None:
                    level = limit * (1 - (1 - share) ** 3)
                    self.kept[number] &= tf.abs(weight) > level
                weight.assign(tf.where(self.kept[number], weight, 0))

    fine_tune(work, work.model, [Masks()])
    return bridge.read_weights(work.model), {"left_out": []}
