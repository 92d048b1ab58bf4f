"""Rebuilding a Keras 3 model in tf_keras from its architecture, for tools that need Keras 2.

`architecture` is `json.loads(model.to_json())` of a Sequential or functional model. Nested
models are unrolled: a layer `conv` inside the model `encoder` is called `encoder.conv`.
Weights travel as {layer path: [arrays]}, so that neither library's order of layers counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from edgepack.data.dataset import Array

_MODELS = ("Functional", "Sequential", "Model")
# Keras 3's name of a parameter -> Keras 2's.
_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}


class UnsupportedLayerError(ValueError):
    """A layer or operation that Keras 2 does not have."""


def leaf_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, layer) of every layer that is not itself a model, each once."""
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if type(layer).__name__ in _MODELS:
            yield from leaf_layers(layer, f"{path}.")
        else:
            yield path, layer


def read_weights(model: Any) -> dict[str, list[Array]]:
    """All weights by layer path; layers without weights are left out."""
    found = {path: layer.get_weights() for path, layer in leaf_layers(model)}
    return {path: weights for path, weights in found.items() if weights}


def write_weights(model: Any, weights: Mapping[str, list[Array]]) -> None:
    """Set the weights that `read_weights` gave."""
    for path, layer in leaf_layers(model):
        if path in weights:
            layer.set_weights(weights[path])


def rebuild(architecture: Mapping[str, Any]) -> Any:
    """The same network as a tf_keras functional model, with fresh weights.

    UnsupportedLayerError names the layer that has no Keras 2 counterpart.
    """
    import tf_keras

    inputs: list[Any] = []
    outputs = _Replay(tf_keras, inputs).model(architecture, None, "")
    return tf_keras.Model(inputs, outputs)


class _Replay:
    """Calls tf_keras layers in the order in which the Keras 3 graph was made."""

    def __init__(self, tf_keras: Any, inputs: list[Any]) -> None:
        self._keras = tf_keras
        self._inputs = inputs
        self._layers: dict[str, Any] = {}

    def model(self, node: Mapping[str, Any], given: Any, prefix: str) -> Any:
        """Outputs of the model `node`; `given` are its inputs, None for the outermost."""
        if node["class_name"] == "Sequential":
            return self._sequential(node["config"]["layers"], given, prefix)
        return self._functional(node["config"], given, prefix)

    def _call(self, entry: Mapping[str, Any], args: list[Any], options: Any, prefix: str) -> Any:
        path = f"{prefix}{entry['config']['name']}"
        if entry["class_name"] in _MODELS:
            return self.model(entry, args[0], f"{path}.")
        if path not in self._layers:
            self._layers[path] = self._layer(entry, path)
        return self._layers[path](*args, **options)

    def _layer(self, entry: Mapping[str, Any], path: str) -> Any:
        kind = getattr(self._keras.layers, entry["class_name"], None)
        if kind is None or not str(entry.get("module", "")).startswith("keras.layers"):
            raise UnsupportedLayerError(f"layer '{path}' ({entry['class_name']})")
        return kind.from_config(_translate(kind, entry["config"]) | {"name": path})

    def _input(self, config: Mapping[str, Any]) -> Any:
        tensor = self._keras.Input(
            batch_shape=config["batch_shape"], dtype=config["dtype"], name=config["name"]
        )
        self._inputs.append(tensor)
        return tensor

    def _sequential(self, entries: list[Mapping[str, Any]], given: Any, prefix: str) -> Any:
        tensor = given
        for entry in entries:
            if entry["class_name"] != "InputLayer":
                tensor = self._call(entry, [tensor], {}, prefix)
            elif given is None:
                tensor = self._input(entry["config"])
        return tensor

    def _functional(self, config: Mapping[str, Any], given: Any, prefix: str) -> Any:
        tensors = self._input_tensors(config, given)
        waiting = [
            (entry, number, node)
            for entry in config["layers"]
            for number, node in enumerate(entry["inbound_nodes"])
        ]
        while waiting:
            later = []
            for entry, number, node in waiting:
                if not _sources(node) <= tensors.keys():
                    later.append((entry, number, node))
                    continue
                args = [_resolve(arg, tensors) for arg in node["args"]]
                result = self._call(entry, args, _resolve(node["kwargs"], tensors), prefix)
                several = result if isinstance(result, (list, tuple)) else [result]
                for position, tensor in enumerate(several):
                    tensors[entry["name"], number, position] = tensor
            if len(later) == len(waiting):
                raise UnsupportedLayerError(f"the connections of '{later[0][0]['name']}'")
            waiting = later
        outputs = [tensors[ref] for ref in _references(config["output_layers"])]
        return outputs[0] if len(outputs) == 1 else outputs

    def _input_tensors(
        self, config: Mapping[str, Any], given: Any
    ) -> dict[tuple[str, int, int], Any]:
        references = _references(config["input_layers"])
        if given is not None:
            values = given if isinstance(given, (list, tuple)) else [given]
            return dict(zip(references, values, strict=True))
        entries = {entry["name"]: entry["config"] for entry in config["layers"]}
        return {ref: self._input(entries[ref[0]]) for ref in references}


def _references(structure: Any) -> list[tuple[str, int, int]]:
    """(layer, node, output) triples of input_layers or output_layers, flattened."""
    if isinstance(structure, Mapping):
        return [ref for value in structure.values() for ref in _references(value)]
    if len(structure) == 3 and isinstance(structure[0], str):
        return [(str(structure[0]), int(structure[1]), int(structure[2]))]
    return [ref for value in structure for ref in _references(value)]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__"


def _sources(value: Any) -> set[tuple[str, int, int]]:
    """The tensors that a node's arguments refer to."""
    if _is_tensor(value):
        layer, node, position = value["config"]["keras_history"]
        return {(layer, node, position)}
    children = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, (Mapping, list, tuple)):
        return set()
    return {ref for child in children for ref in _sources(child)}


def _resolve(value: Any, tensors: Mapping[tuple[str, int, int], Any]) -> Any:
    """A node's arguments with tensors in place of references."""
    if _is_tensor(value):
        layer, node, position = value["config"]["keras_history"]
        return tensors[layer, node, position]
    if isinstance(value, Mapping):
        return {key: _resolve(child, tensors) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolve(child, tensors) for child in value]
    return value


def _translate(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """A Keras 3 layer config in Keras 2's words; what Keras 2 does not know is left out.

    Initializers are dropped, because weights follow; so are Keras 3's own additions, which
    the check of outputs after rebuilding would expose if they mattered.
    """
    known = {"name", "trainable", "dtype"}
    for base in kind.__mro__[:-1]:
        known |= set(inspect.signature(vars(base).get("__init__", object)).parameters)
    renamed = {_RENAMED.get((kind.__name__, key), key): value for key, value in config.items()}
    return {
        key: _plain(value)
        for key, value in renamed.items()
        if key in known and not key.endswith("_initializer")
    }


def _plain(value: Any) -> Any:
    """Serialized objects in Keras 2's form: policies and functions as names."""
    if isinstance(value, Mapping) and "class_name" in value:
        config = value.get("config")
        if value["class_name"] == "DTypePolicy":
            return config["name"] if config else "float32"
        if value["class_name"] == "function":
            return config
        return {"class_name": value["class_name"], "config": _nested(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _nested(value: Mapping[str, Any]) -> Any:
    import tf_keras

    config = value.get("config") or {}
    kind = getattr(tf_keras.layers, value["class_name"], None)
    return config if kind is None else _translate(kind, config)
