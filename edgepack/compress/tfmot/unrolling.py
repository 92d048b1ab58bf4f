"""tf_keras models inside models, made flat: TFMOT takes only layers.

Networks of Keras 3 arrive flat from the bridge; this names layers in the same way: a layer
`conv` inside the model `encoder` is called `encoder.conv`. Weights do not come along.
"""

from __future__ import annotations

from typing import Any


def unrolled(model: Any) -> Any:
    """The same network without models inside, its layers new; a flat one as it is."""
    import tf_keras

    if not any(isinstance(layer, tf_keras.Model) for layer in model.layers):
        return model
    inputs = [
        tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    ]
    return tf_keras.Model(inputs, _replay(model, inputs, "", {}))


def _replay(model: Any, inputs: list[Any], prefix: str, made: dict[str, Any]) -> list[Any]:
    """The model's outputs for these inputs; `made` holds the new layers by path."""
    import tensorflow as tf
    import tf_keras

    values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = tf.nest.map_structure(
                lambda value: values.get(id(value), value), (node.call_args, node.call_kwargs)
            )
            layer, path = node.layer, f"{prefix}{node.layer.name}"
            if isinstance(layer, tf_keras.Model):
                results = _replay(layer, tf.nest.flatten(args), f"{path}.", made)
            else:
                if path not in made:
                    made[path] = type(layer).from_config({**layer.get_config(), "name": path})
                results = tf.nest.flatten(made[path](*args, **kwargs))
            values.update(zip(map(id, tf.nest.flatten(node.outputs)), results, strict=True))
    return [values[id(tensor)] for tensor in model.outputs]
