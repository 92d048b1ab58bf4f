"""The task `cluster`: each kernel's weights share a few values, by TFMOT, with a fine-tune."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepack.compress import bridge
from edgepack.compress.tfmot.tuning import Work, fine_tune, kernels
from edgepack.data.dataset import Array

NOT_BY_TFMOT = "TFMOT cannot cluster such a layer"
NO_KERNEL = "TFMOT clusters none of its kernels"
TOO_SMALL = "it has too few weights"


def cluster(work: Work) -> tuple[dict[str, list[Array]], dict[str, Any]]:
    """Weights of few values, and a report: left_out, a list of [layer, reason]."""
    import tf_keras
    from tensorflow_model_optimization.clustering import keras as clustering

    left_out: list[tuple[str, str]] = []

    def wrap(layer: Any) -> Any:
        if not kernels(layer) or _few_values(layer, work.params["clusters"]):
            return layer
        try:
            wrapped = _wrapped(clustering, layer, work)
        except ValueError:
            left_out.append((layer.name, NOT_BY_TFMOT))
            return layer
        if wrapped is layer:
            left_out.append((layer.name, TOO_SMALL))
            return layer
        if not wrapped.layer.get_clusterable_weights():
            left_out.append((layer.name, NO_KERNEL))
            return layer
        return wrapped

    _make_scales_positive(work.model)
    # TFMOT puts tensors in place of the layers' variables: work.model is not used again.
    clustered = tf_keras.models.clone_model(work.model, clone_function=wrap)
    if clustered.trainable_variables:
        fine_tune(work, clustered)
    return bridge.read_weights(clustering.strip_clustering(clustered)), {"left_out": left_out}


def _make_scales_positive(model: Any) -> None:
    """Moves negative scales of normalizations into the kernels before them: the same network.

    The converter multiplies the scales into the kernels, and a negative one would turn the
    signs of its channel's integers: up to twice as many values in the file.
    """
    import tf_keras

    kinds = (tf_keras.layers.Conv1D, tf_keras.layers.Conv2D, tf_keras.layers.Dense)
    for layer in model.layers:
        if not isinstance(layer, tf_keras.layers.BatchNormalization) or layer.gamma is None:
            continue
        before = layer._inbound_nodes[0].inbound_layers
        if len(layer._inbound_nodes) > 1 or type(before) not in kinds:
            continue
        alone = len(before._inbound_nodes) == len(before._outbound_nodes) == 1
        if not alone or before.activation is not tf_keras.activations.linear:
            continue
        sign = np.where(layer.gamma.numpy() < 0, -1, 1).astype(np.float32)
        for weight in (*before.weights, layer.gamma, layer.moving_mean):
            weight.assign(weight * sign)


def _few_values(layer: Any, most: int) -> bool:
    """Whether every kernel has no more values than it may have; TFMOT fails on some such."""
    return all(len(np.unique(weight.numpy())) <= most for weight in kernels(layer))


def _wrapped(clustering: Any, layer: Any, work: Work) -> Any:
    init = clustering.CentroidInitialization
    starts = {
        "kmeans++": init.KMEANS_PLUS_PLUS,
        "linear": init.LINEAR,
        "density": init.DENSITY_BASED,
    }
    zeros = work.params["keep_zeros"] and any((w.numpy() == 0).any() for w in kernels(layer))
    return clustering.cluster_weights(
        layer,
        number_of_clusters=work.params["clusters"],
        cluster_centroids_init=starts[work.params["init"]],
        preserve_sparsity=zeros,
        cluster_per_channel=work.params["per_channel"],
    )
