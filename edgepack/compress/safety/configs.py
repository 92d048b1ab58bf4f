"""Finding code in a Keras architecture: Lambda layers, custom classes, and known ways around.

A config is JSON in which every dict with a `class_name` becomes an object. Whatever is not one
of Keras's own building blocks is refused unless the user named the module that it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgepack.compress.refusals import bomb, forbidden, needs_code, not_a_model
from edgepack.compress.safety.ops import reason_against

# Far above any real architecture (the largest of keras.applications has 3 MB).
CONFIG_BYTES = 64 * 2**20
# Classes that hold code (or a path to code) in their own config, whatever module they name.
_CODE_CLASSES = {
    "lambda": "a Lambda layer",
    "__lambda__": "a Lambda function",
    "tfsmlayer": "a TFSMLayer, which opens another SavedModel",
    "torchmodulewrapper": "a TorchModuleWrapper, which is a pickle",
    "jaxlayer": "a JaxLayer",
    "flaxlayer": "a FlaxLayer",
}
# Packages of Keras 2 and 3 that hold building blocks; utils, saving, callbacks and the like do
# not belong into an architecture and can reach files and the network.
_BUILDING_BLOCKS = {
    "activations",
    "constraints",
    "dtype_policies",
    "engine",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "random",
    "regularizers",
}
# Layers that read a vocabulary from the path in their config.
_READ_VOCABULARY = {"stringlookup", "integerlookup", "textvectorization", "hashing"}
# What tf_keras's TFOpLambda may call: names under these modules, or one without a module.
_PURE_MODULES = {
    "__operators__",
    "bitwise",
    "dtypes",
    "image",
    "keras.activations",
    "linalg",
    "math",
    "nn",
    "quantization",
    "ragged",
    "random",
    "signal",
    "sparse",
    "strings",
}
_NOT_PURE = {"load_library", "load_op_library", "numpy_function", "print", "py_function"}


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """The module of custom objects that the user named, and the names in it."""

    module: str
    names: frozenset[str]


def parse(text: bytes | str, where: str) -> Any:
    """The JSON of an architecture. EP202 when it is too large, too deep or no JSON."""
    if len(text) > CONFIG_BYTES:
        raise bomb(f"its architecture is {len(text) / 2**20:.0f} MiB of JSON", where)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise not_a_model(f"its architecture is not JSON ({error})", where) from error


def refuse_code(config: Any, where: str, allowed: Allowed | None) -> None:
    """EP203 when the architecture names code that is neither Keras's own nor allowed.

    The outermost `compile_config` (loss, metrics, optimizer) is not looked at: models are
    opened uncompiled.
    """
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "compile_config"}
    for node in _objects(config):
        _refuse_calls(node, where)
        if allowed is None:
            _refuse_code_class(node, where)
        _refuse_foreign(node, where, allowed)


def _objects(root: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object (a dict with a class_name) inside a config, without recursion."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _kind(node: Mapping[str, Any]) -> str:
    """The class without its package, in lower case: old Keras finds some by either case."""
    return str(node["class_name"]).replace(">", ".").rpartition(".")[2].lower()


def _config(node: Mapping[str, Any]) -> Mapping[str, Any]:
    config = node.get("config")
    return config if isinstance(config, dict) else {}


def _refuse_code_class(node: Mapping[str, Any], where: str) -> None:
    kind = _kind(node)
    if kind in _CODE_CLASSES:
        raise needs_code(_CODE_CLASSES[kind], where)
    if kind in _READ_VOCABULARY and isinstance(_config(node).get("vocabulary"), str):
        raise needs_code(f"a {node['class_name']} that reads its vocabulary from a path", where)


def _refuse_calls(node: Mapping[str, Any], where: str) -> None:
    """Layers of tf_keras that stand for one call of TensorFlow: pure mathematics only."""
    kind, config = _kind(node), _config(node)
    if kind == "tfoplambda" and not _pure(str(config.get("function"))):
        raise forbidden(f"a call of tf.{config.get('function')}", "is not a layer's work", where)
    if kind == "classmethod" and not _pure(f"{config.get('cls_symbol')}"):
        raise forbidden(f"a call of tf.{config.get('cls_symbol')}", "is not a layer's work", where)
    if kind == "tensorflowoplayer":
        text = config.get("node_def")
        definition = parse(text, where) if isinstance(text, str) else text
        op = definition.get("op") if isinstance(definition, dict) else None
        reason = reason_against(str(op)) if op else "cannot be read"
        if reason:
            raise forbidden(f"the operation {op}", reason, where)


def _pure(function: str) -> bool:
    module, _, name = function.removeprefix("compat.v1.").rpartition(".")
    if not module:  # in version 1, files were read and written from the top level
        return name not in _NOT_PURE and not function.startswith("compat.")
    return module in _PURE_MODULES or module.partition(".")[0] in _PURE_MODULES


def _refuse_foreign(node: Mapping[str, Any], where: str, allowed: Allowed | None) -> None:
    """Classes of other packages, and ones registered under a package of their own."""
    name = str(node["class_name"])
    module = str(node.get("module") or "keras")
    registered = str(node.get("registered_name") or "")
    if not _is_keras(module) and not _is_allowed(allowed, module, name):
        raise needs_code(f"'{module}.{name}'", where)
    package, _, tail = registered.rpartition(">")
    if package and not _is_allowed(allowed, "", tail):
        raise needs_code(f"'{registered}'", where)


def _is_keras(module: str) -> bool:
    if module == "builtins":  # how Keras writes its own functions, looked up in Keras only
        return True
    root, *rest = module.split(".")
    inner = rest[1:] if rest[:1] == ["src"] else rest
    return root in ("keras", "tf_keras") and (not inner or inner[0] in _BUILDING_BLOCKS)


def _is_allowed(allowed: Allowed | None, module: str, name: str) -> bool:
    return allowed is not None and (module == allowed.module or name in allowed.names)
