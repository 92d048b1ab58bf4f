"""A Keras 3 model as a flat list of calls, and a model again from such a list.

Functional and Sequential models nested in a model are inlined, to any depth, so that what
reads a `Graph` never meets a model inside a model. A layer called several times is the same
object in each of its calls; a nested model called twice gives each inner layer two calls.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepack.errors import EdgepackError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One call of a layer or operation.

    arguments: Keras's record of the call, holding symbolic tensors where values go.
    inputs: value numbers, in the order of `arguments.keras_tensors`.
    training: what a surrounding model was called with; None where nothing was said.
    """

    op: Any
    arguments: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    training: bool | None = None


@dataclass(frozen=True)
class Graph:
    """Calls in an order in which they can run.

    shapes: by value number, the batch axis first; None where a size is not fixed.
    names: by `id` of the layer or operation, its name; unique within the graph.
    """

    model: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    shapes: tuple[Shape, ...]
    names: Mapping[int, str]

    @property
    def operations(self) -> list[Any]:
        """Every layer and operation once, in the order of its first call."""
        return list({id(call.op): call.op for call in self.calls}.values())

    def name(self, op: Any) -> str:
        """The unique name of a layer or operation of this graph."""
        return self.names[id(op)]


def trace(model: Any) -> Graph:
    """Read `model` into a `Graph`.

    Raises:
        EdgepackError: EP206 for a model that is not a graph of layers (a subclassed one).
    """
    body = functional(model)
    if body is None:
        raise EdgepackError(
            "EP206",
            f"model '{model.name}' is a {type(model).__name__} with code of its own, not a graph",
            hint="Rebuild it with the functional API, or leave out passes that cut channels.",
        )
    tracer = _Tracer()
    inputs = [tracer.value(tensor) for tensor in body.inputs]
    outputs = tracer.inline(body, inputs, scope="", training=None)
    return Graph(
        model=body,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        calls=tuple(tracer.calls),
        shapes=tuple(tracer.shapes),
        names=tracer.names,
    )


def functional(op: Any) -> Any | None:
    """The graph inside a Functional or built Sequential model; None for anything else.

    A subclass that replaces `call` can do anything in it, so its graph says nothing.
    """
    import keras
    from keras.src.models.functional import Functional  # no public name

    if isinstance(op, keras.Sequential) and type(op).call is keras.Sequential.call:
        return op._functional
    if isinstance(op, Functional) and type(op).call is Functional.call:
        return op
    return None


def rebuild(graph: Graph, make: Callable[[Any, str], Any]) -> Any:
    """A new model with the wiring of `graph`.

    Args:
        graph: the calls to repeat, with the same inputs, outputs and their structure.
        make: (layer or operation, its name) -> the one to call in its place. Called once
            for each, so what was shared stays shared.
    """
    import keras

    model = graph.model
    values: dict[int, Any] = {}
    for number, tensor in zip(graph.inputs, model.inputs, strict=True):
        values[number] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name, sparse=tensor.sparse
        )
    made: dict[int, Any] = {}
    for call in graph.calls:
        if id(call.op) not in made:
            made[id(call.op)] = make(call.op, graph.name(call.op))
        op = made[id(call.op)]
        symbols = zip(call.arguments.keras_tensors, call.inputs, strict=True)
        args, kwargs = call.arguments.fill_in({id(s): values[n] for s, n in symbols})
        if call.training is not None and getattr(op, "_call_has_training_arg", False):
            kwargs = {**kwargs, "training": call.training}
        results = keras.tree.flatten(op(*args, **kwargs))
        values.update(zip(call.outputs, results, strict=True))
    pack = keras.tree.pack_sequence_as
    return keras.Model(
        pack(model._inputs_struct, [values[n] for n in graph.inputs]),
        pack(model._outputs_struct, [values[n] for n in graph.outputs]),
        name=model.name,
    )


def clone(op: Any, name: str, config_edits: Mapping[str, Any] | None = None) -> Any:
    """A layer like `op`, without its weights; an operation is stateless and needs no copy.

    Args:
        op: the layer or operation.
        name: the new one's name.
        config_edits: entries of the layer's configuration to replace.
    """
    import keras

    if isinstance(op, keras.Layer):
        return type(op).from_config({**op.get_config(), "name": name, **(config_edits or {})})
    if op.name == name:
        return op
    renamed = copy.copy(op)
    renamed.name, renamed._inbound_nodes, renamed._outbound_nodes = name, [], []
    return renamed


def flatten(model: Any) -> Any:
    """The same model, copied, weights and all, with nested models inlined.

    Raises:
        EdgepackError: EP206 as `trace` does, or when a layer cannot be made from its own
            configuration.
    """
    graph = trace(model)
    pairs: list[tuple[Any, Any]] = []

    def make(op: Any, name: str) -> Any:
        try:
            twin = clone(op, name)
        except Exception as error:  # a layer's own code: it can raise anything
            raise EdgepackError(
                "EP206",
                f"layer '{name}' ({type(op).__name__}) cannot be made from its configuration: "
                f"{error}",
                hint="Give the layer a get_config() that its class accepts back.",
            ) from error
        if twin is not op:
            pairs.append((op, twin))
        return twin

    flat = rebuild(graph, make)
    for op, twin in pairs:
        if getattr(op, "weights", None):
            twin.set_weights(op.get_weights())
    return flat


def feed(model: Any, arrays: Mapping[str, Any]) -> Any:
    """Arrays by input name, in the structure that `model` is called with.

    Raises:
        EdgepackError: EP303 when an input has no array.
    """
    import keras

    missing = [tensor.name for tensor in model.inputs if tensor.name not in arrays]
    if missing:
        raise EdgepackError(
            "EP303",
            f"no data for the model's input {', '.join(missing)}",
            hint=f"The data has: {', '.join(arrays) or 'nothing'}.",
        )
    given = [arrays[tensor.name] for tensor in model.inputs]
    return keras.tree.pack_sequence_as(model._inputs_struct, given)


@dataclass
class _Tracer:
    """Numbers values and collects calls while walking into nested models."""

    calls: list[Call] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def value(self, tensor: Any) -> int:
        self.shapes.append(tuple(tensor.shape))
        return len(self.shapes) - 1

    def inline(
        self, body: Any, inputs: list[int], *, scope: str, training: bool | None
    ) -> list[int]:
        """Collect the calls of one model applied to `inputs`; its outputs' value numbers."""
        env = {id(tensor): number for tensor, number in zip(body.inputs, inputs, strict=True)}
        for depth in sorted(body._nodes_by_depth, reverse=True):
            for node in body._nodes_by_depth[depth]:
                if not node.is_input and node.operation is not None:
                    self._node(node, env, scope, training)
        return [env[id(tensor)] for tensor in body.outputs]

    def _node(self, node: Any, env: dict[int, int], scope: str, training: bool | None) -> None:
        op, inputs = node.operation, [env[id(t)] for t in node.input_tensors]
        said = node.arguments.kwargs.get("training")
        training = said if training is None else training
        body = functional(op)
        if body is not None and len(body.inputs) == len(inputs):
            outputs = self.inline(body, inputs, scope=op.name, training=training)
        else:
            self._name(op, scope)
            outputs = [self.value(tensor) for tensor in node.outputs]
            self.calls.append(Call(op, node.arguments, tuple(inputs), tuple(outputs), training))
        env.update({id(t): n for t, n in zip(node.outputs, outputs, strict=True)})

    def _name(self, op: Any, scope: str) -> None:
        if id(op) in self.names:
            return
        name, count = op.name, 1
        if name in self._taken and scope:
            name = f"{scope}_{op.name}"
        base = name
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        self.names[id(op)] = name
