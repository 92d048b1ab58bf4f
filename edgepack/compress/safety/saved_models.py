"""Looking through a SavedModel's graphs and Keras metadata before they are restored."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepack.compress.refusals import bomb, forbidden, not_a_model
from edgepack.compress.safety.configs import Allowed, parse, refuse_code
from edgepack.compress.safety.ops import reason_against

# A protocol buffer cannot be larger than this.
_GRAPH_BYTES = 2**31


def messages_alone() -> None:
    """Let TensorFlow's protocol buffers be imported without TensorFlow, which takes seconds.

    For a process that needs nothing else of it: the packages stay empty shells.
    """
    for name in ("tensorflow", "tf_keras"):
        found = find_spec(name) if name not in sys.modules else None
        if found is not None and found.submodule_search_locations is not None:
            shell = ModuleType(name)
            shell.__path__ = list(found.submodule_search_locations)
            sys.modules[name] = shell


def check(folder: Path, where: str, allowed: Allowed | None) -> set[str]:
    """The names of the operations that the graphs use, none of them their own functions.

    EP203 for Python, file and network operations, and for Keras layers with code; EP202 for
    links and damage.
    """
    for file in folder.rglob("*"):
        if file.is_symlink():
            raise bomb(f"'{file.relative_to(folder)}' is a link", where)
    from tensorflow.core.protobuf import saved_model_pb2

    operations: set[str] = set()
    saved = _read(saved_model_pb2.SavedModel(), folder / "saved_model.pb", where)
    for graph in saved.meta_graphs:
        operations |= _check_graph(graph, where)
    metadata = folder / "keras_metadata.pb"
    if metadata.is_file():
        from tf_keras.protobuf import saved_metadata_pb2

        empty = saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]
        for node in _read(empty, metadata, where).nodes:
            _check_metadata(node, where, allowed)
    return operations


def _read(message: Any, file: Path, where: str) -> Any:
    from google.protobuf.message import DecodeError

    if file.stat().st_size > _GRAPH_BYTES:
        raise bomb(f"'{file.name}' is larger than any model's", where)
    try:
        message.ParseFromString(file.read_bytes())
    except (DecodeError, OSError) as error:
        raise not_a_model(f"'{file.name}' is damaged ({error})", where) from error
    return message


def _check_metadata(node: Any, where: str, allowed: Allowed | None) -> None:
    """Keras rebuilds layers from these configs, but foreign classes from their graphs alone."""
    if not node.metadata:
        return
    config = parse(node.metadata, where)
    if isinstance(config, dict) and isinstance(config.get("class_name"), str):
        own = {key: config.get(key) for key in ("class_name", "config")}
        refuse_code(own, where, allowed)


def _check_graph(graph: Any, where: str) -> set[str]:
    """Operations that the model's own saver needs are allowed in the saver's functions only."""
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    saver_nodes = _ancestors(_saver_outputs(graph), nodes)
    saver = _called(_calls(nodes[name] for name in saver_nodes), functions)
    rest = [node for name, node in nodes.items() if name not in saver_nodes]
    computing = _called(_calls(rest), functions) | (functions.keys() - saver)
    used = _check_ops((nodes[name] for name in saver_nodes), where, in_saver=True)
    used |= _check_ops(rest, where, in_saver=False)
    for name, function in functions.items():
        used |= _check_ops(function.node_def, where, in_saver=name not in computing)
    return used - functions.keys()


def _saver_outputs(graph: Any) -> list[str]:
    saver = graph.saver_def
    return [saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name]


def _ancestors(starts: Iterable[str], nodes: Mapping[str, Any]) -> set[str]:
    """Names of the nodes that these tensors are computed by."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name in nodes and name not in found:
            found.add(name)
            waiting.extend(nodes[name].input)
    return found


def _calls(nodes: Iterable[Any]) -> set[str]:
    """Names of the functions in the attributes of these nodes."""
    found: set[str] = set()
    for node in nodes:
        for value in node.attr.values():
            found.update(f.name for f in [value.func, *value.list.func] if f.name)
    return found


def _called(names: Iterable[str], functions: Mapping[str, Any]) -> set[str]:
    """These functions and all that they call in turn."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting.extend(_calls(functions[name].node_def))
    return found


def _check_ops(nodes: Iterable[Any], where: str, *, in_saver: bool) -> set[str]:
    used = set()
    for node in nodes:
        reason = reason_against(node.op, in_saver=in_saver)
        if node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:"):
            reason = "reads or writes files"
        if reason:
            raise forbidden(f"the operation {node.op}", reason, where)
        used.add(node.op)
    return used
