"""The task `qat`: training that feels the rounding to int8, saved for the converter.

Layers that TFMOT cannot quantize stay float. They are found by quantizing each kind of layer
alone first, then, for those that depend on their neighbours, by what TFMOT refuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepack.compress import bridge
from edgepack.compress.tfmot.tuning import RefusedError, Work, fine_tune
from edgepack.data.dataset import Array

NOT_BY_TFMOT = "TFMOT cannot quantize such a layer"
NOT_HERE = "TFMOT cannot quantize it between these neighbours"
# Taken with the layer before them, so that alone they prove nothing.
_WITH_NEIGHBOURS = ("BatchNormalization",)
_REFUSED_LAYER = re.compile(r"Layer (.+?):<class")


def train_quantized(work: Work) -> tuple[dict[str, list[Array]], dict[str, Any]]:
    """Float weights after the training; saved_model/ is written. Report: left_out, a list of
    [layer, reason]; float_inputs, float_outputs: whether any stays float."""
    left_out = _refused_alone(work.model)
    quantized = _quantize(work, left_out)
    fine_tune(work, quantized)
    _save(work, quantized)
    report = {"left_out": list(left_out.items()), **_float_ends(work.model, left_out)}
    return _weights(work.model, quantized), report


def _refused_alone(model: Any) -> dict[str, str]:
    """Layer name -> reason, of the layers that cannot be quantized even on their own."""
    import tf_keras

    tried: dict[tuple[Any, ...], bool] = {}
    refused: dict[str, str] = {}
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.InputLayer) or type(layer).__name__ in (
            _WITH_NEIGHBOURS
        ):
            continue
        activation = getattr(layer, "activation", None)
        kind = (type(layer), getattr(activation, "__name__", activation))
        if kind not in tried:
            tried[kind] = _can_be_quantized(layer)
        if not tried[kind]:
            refused[layer.name] = f"{NOT_BY_TFMOT} ({type(layer).__name__})"
    return refused


def _can_be_quantized(layer: Any) -> bool:
    """Whether TFMOT quantizes a model of this layer alone."""
    import tf_keras
    from tensorflow_model_optimization.quantization import keras as quantization

    from edgepack.compress.tfmot.scheme import Scheme

    tensors = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
    inputs = [tf_keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in tensors]
    try:
        twin = quantization.quantize_annotate_layer(type(layer).from_config(layer.get_config()))
        alone = tf_keras.Model(inputs, twin(inputs if len(inputs) > 1 else inputs[0]))
        quantization.quantize_apply(alone, Scheme(zeros=False, clusters=0))
    except Exception:  # TFMOT raises what comes: any failure means no
        return False
    return True


def _quantize(work: Work, left_out: dict[str, str]) -> Any:
    """The model with its quantizers; what TFMOT refuses is added to `left_out`."""
    from tensorflow_model_optimization.quantization import keras as quantization

    from edgepack.compress.tfmot.scheme import Scheme

    scheme = Scheme(
        zeros=work.params["keep_zeros"], clusters=work.params["clusters"], left_out=left_out
    )
    for _ in work.model.layers:
        annotated = _annotated(work.model, left_out)
        try:
            return quantization.quantize_apply(annotated, scheme, quantized_layer_name_prefix="")
        except (RuntimeError, ValueError) as error:
            named = _REFUSED_LAYER.search(str(error))
            if named is None or named[1] in left_out:
                reason = " ".join(str(error).split())[:200]
                raise RefusedError(f"TFMOT cannot quantize the network: {reason}") from error
            left_out[named[1]] = NOT_HERE
    raise RefusedError("TFMOT can quantize none of the network's layers")


def _annotated(model: Any, left_out: dict[str, str]) -> Any:
    import tf_keras
    from tensorflow_model_optimization.quantization import keras as quantization

    inner = [layer for layer in model.layers if not isinstance(layer, tf_keras.layers.InputLayer)]
    if all(layer.name in left_out for layer in inner):
        raise RefusedError("TFMOT can quantize none of the network's layers")

    def annotate(layer: Any) -> Any:
        if layer.name in left_out:
            return layer
        return quantization.quantize_annotate_layer(layer)

    return tf_keras.models.clone_model(model, clone_function=annotate)


def _float_ends(model: Any, left_out: dict[str, str]) -> dict[str, bool]:
    """Whether an input goes to a float layer, and whether an output comes from one."""
    ends = {tensor._keras_history.layer.name for tensor in model.outputs}
    readers = {
        node.outbound_layer.name
        for tensor in model.inputs
        for node in tensor._keras_history.layer._outbound_nodes
    }
    return {
        "float_inputs": bool(readers & left_out.keys()),
        "float_outputs": bool(ends & left_out.keys()),
    }


def _save(work: Work, model: Any) -> None:
    """A SavedModel with the source's names, batch 1 where it was free."""
    import tensorflow as tf

    types = {name: t.dtype for name, t in zip(model.input_names, model.inputs, strict=True)}
    specs = {}
    for entry in work.job["inputs"]:
        name, (batch, *sizes) = entry["name"], entry["shape"]
        specs[name] = tf.TensorSpec((batch or 1, *sizes), types[name], name)

    def call(tensors: Any) -> dict[str, Any]:
        results = model([tensors[name] for name in model.input_names], training=False)
        results = results if isinstance(results, (list, tuple)) else [results]
        return dict(zip(work.job["outputs"], results, strict=True))

    module: Any = tf.Module()
    module.held = model.variables
    serve = tf.function(call, input_signature=[specs])
    folder = str(work.folder / "saved_model")
    tf.saved_model.save(module, folder, signatures={"serving_default": serve})


def _weights(model: Any, quantized: Any) -> dict[str, list[Array]]:
    """The trained weights by layer path, in the order of the original layers' weights.

    A layer that TFMOT took apart (a separable convolution) keeps its old weights here: these
    are for what is said of the network, not for the file.
    """
    trained = {layer.name: layer for layer in quantized.layers}
    found = bridge.read_weights(model)
    for path, layer in bridge.leaf_layers(model):
        if path not in found or path not in trained:
            continue
        values = _by_name(trained[path].weights)
        names = [_last(weight) for weight in layer.weights]
        if all(name in values for name in names):
            found[path] = [values[name] for name in names]
    return found


def _by_name(weights: Sequence[Any]) -> dict[str, Array]:
    return {_last(weight): np.asarray(weight) for weight in weights}


def _last(weight: Any) -> str:
    """The "kernel" of "conv/kernel:0"."""
    return str(weight.name).split(":")[0].rpartition("/")[2]
