"""A loaded network behind one face, whichever library holds it.

`KerasNetwork` holds a Keras 3 or tf_keras model; `SavedModelNetwork` holds a TensorFlow
SavedModel that is not a Keras model, which can be converted but not changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.compress.native import quiet, tensorflow
from edgepack.data.dataset import Array
from edgepack.model import TensorSpec

_BATCH = 256


class Network(ABC):
    """What every pass and the converter need to know of a model.

    inputs, outputs: names, shapes (None for a free axis) and types, in the model's order.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name (first axis: samples), in fixed-size batches."""
        samples = len(next(iter(inputs.values())))
        size = self.inputs[0].shape[0] or _BATCH
        parts = [
            self._predict_batch({name: array[i : i + size] for name, array in inputs.items()})
            for i in range(0, samples, size)
        ]
        return {
            spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in self.outputs
        }

    @abstractmethod
    def _predict_batch(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...

    @abstractmethod
    def export(self, folder: Path) -> Path:
        """A SavedModel of the network for the converter: batch 1 where it was free.

        Devices infer one sample at a time; a fixed batch keeps every shape static, which
        XNNPACK needs to take a whole graph, and which LSTM and GRU need to convert at all.
        """

    def params(self) -> int | None:
        """Elements of all weights; None where they cannot be seen."""
        return None

    def sparsity(self) -> float | None:
        """Share of zeros among weights of two or more dimensions; None without such."""
        return None

    def macs(self) -> int | None:
        """Multiply-accumulates of one inference at batch 1; None where they are not known."""
        return None


@dataclass(frozen=True, kw_only=True)
class KerasNetwork(Network):
    """A Keras 3 ("keras") or Keras 2 ("tf_keras") model with fixed inputs.

    output_names: what the outputs are called where the layers that make them are not to say.
    """

    model: Any
    framework: str
    output_names: tuple[str, ...] | None = None

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """One for each input layer, by its name."""
        return _specs(self.model.inputs)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """One for each output, by the name of the layer that makes it or `output_names`."""
        return _specs(self.model.outputs, self.output_names)

    @cached_property
    def _function(self) -> Any:
        return tensorflow().function(self._call)

    def _call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The model in inference mode, on tensors by name."""
        tree = tensorflow().nest
        structure = _input_structure(self.model)
        order = [_tensor_name(tensor) for tensor in tree.flatten(structure)]
        packed = tree.pack_sequence_as(structure, [inputs[name] for name in order])
        results = tree.flatten(self.model(packed, training=False))
        return {spec.name: value for spec, value in zip(self.outputs, results, strict=True)}

    def _predict_batch(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tf = tensorflow()
        tensors = {
            spec.name: tf.constant(inputs[spec.name], dtype=spec.dtype) for spec in self.inputs
        }
        return {name: value.numpy() for name, value in self._function(tensors).items()}

    def export(self, folder: Path) -> Path:
        """See `Network.export`."""
        tf = tensorflow()
        specs = {
            spec.name: tf.TensorSpec((spec.shape[0] or 1, *spec.shape[1:]), spec.dtype, spec.name)
            for spec in self.inputs
        }
        module = tf.Module()
        # A Keras 3 model is not tracked by a Module: its tf.Variables must be named here.
        module.held = [w.value if self.framework == "keras" else w for w in self.model.variables]
        with quiet():
            serve = tf.function(self._call, input_signature=[specs])
            tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
        return folder

    def params(self) -> int:
        """See `Network.params`."""
        return int(sum(np.prod(weight.shape) for weight in self.model.weights))

    def sparsity(self) -> float | None:
        """See `Network.sparsity`."""
        matrices = [w for w in self.model.get_weights() if w.ndim >= 2]
        total = sum(w.size for w in matrices)
        zeros = sum(w.size - int(np.count_nonzero(w)) for w in matrices)
        return zeros / total if total else None

    def macs(self) -> int | None:
        """See `Network.macs`."""
        from edgepack.compress.inspect.layers import layers

        works = [layer.macs for layer in layers(self.model)]
        return None if None in works else sum(work for work in works if work is not None)


@dataclass(frozen=True, kw_only=True)
class SavedModelNetwork(Network):
    """A SavedModel with a serving signature and no Keras model in it."""

    folder: Path
    function: Any
    keep_alive: Any

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """The signature's inputs, by their keyword; sorted, as a SavedModel keeps no order."""
        keywords = self.function.structured_input_signature[1]
        return tuple(_spec(name, tensor) for name, tensor in sorted(keywords.items()))

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """The signature's outputs, by their key, sorted."""
        tensors = sorted(self.function.structured_outputs.items())
        return tuple(_spec(name, tensor) for name, tensor in tensors)

    def _predict_batch(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tf = tensorflow()
        tensors = {
            spec.name: tf.constant(inputs[spec.name], dtype=spec.dtype) for spec in self.inputs
        }
        return {name: value.numpy() for name, value in self.function(**tensors).items()}

    def export(self, folder: Path) -> Path:
        """The same function, saved again with batch 1."""
        tf = tensorflow()
        specs = {
            spec.name: tf.TensorSpec((spec.shape[0] or 1, *spec.shape[1:]), spec.dtype, spec.name)
            for spec in self.inputs
            if spec.shape
        }
        module = tf.Module()
        module.source = self.keep_alive
        with quiet():
            serve = tf.function(lambda tensors: self.function(**tensors), input_signature=[specs])
            tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
        return folder


def named_as(network: Network, source: Network) -> Network:
    """The network with its outputs called as the source's, which it was made from.

    A pass that inlines nested models or replaces layers has other layers make the outputs.
    """
    names = tuple(spec.name for spec in source.outputs)
    if not isinstance(network, KerasNetwork) or len(network.outputs) != len(names):
        return network
    return replace(network, output_names=names)


def _input_structure(model: Any) -> Any:
    """The tensor, list or dict of tensors that the model is called with."""
    try:
        return model.input
    except (AttributeError, ValueError):  # a Keras 3 Sequential that was never called
        return model.inputs[0]


def _tensor_name(tensor: Any) -> str:
    """The name of the layer or operation that makes a Keras tensor."""
    history = tensor._keras_history
    operation = getattr(history, "operation", None) or history.layer  # Keras 3, Keras 2
    return str(operation.name)


def _specs(tensors: Any, given: tuple[str, ...] | None = None) -> tuple[TensorSpec, ...]:
    """Specs of Keras tensors by names that are given, or by the layers that make them; a layer
    with several outputs gets numbered names."""
    if given is not None:
        return tuple(_spec(name, tensor) for name, tensor in zip(given, tensors, strict=True))
    names: list[str] = []
    for tensor in tensors:
        base = _tensor_name(tensor)
        taken = sum(1 for name in names if name == base or name.startswith(f"{base}_"))
        names.append(base if base not in names else f"{base}_{taken}")
    return tuple(_spec(name, tensor) for name, tensor in zip(names, tensors, strict=True))


def _spec(name: str, tensor: Any) -> TensorSpec:
    dtype = getattr(tensor.dtype, "name", tensor.dtype)
    shape = tuple(None if size is None else int(size) for size in tensor.shape)
    return TensorSpec(name=name, shape=shape, dtype=str(dtype))
