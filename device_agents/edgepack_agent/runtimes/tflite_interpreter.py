"""The Interpreter class that ai-edge-litert, tflite-runtime and TensorFlow have in common."""

import ctypes
import functools
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from edgepack_agent.runtimes.base import (
    UNKNOWN,
    Config,
    Ops,
    Runtime,
    Shape,
    Tensor,
    precision,
    unavailable,
)

DELEGATE = "delegate:"


class TfliteInterpreter(Runtime):
    """A runtime that is an Interpreter; subclasses say where it is imported from."""

    _keep_all = False

    def keep_all(self) -> None:
        """Before `open`: every tensor keeps its values, so that `value` can tell them."""
        self._keep_all = True

    def floats(self) -> Dict[int, Shape]:
        """The shapes of the float32 tensors, by index."""
        return {
            int(detail["index"]): tuple(int(n) for n in detail["shape"])
            for detail in self._interpreter.get_tensor_details()
            if detail["dtype"] == np.float32
        }

    def value(self, slot: int) -> np.ndarray:
        """A tensor's values of the last inference, where all were to be kept."""
        return np.asarray(self._interpreter.get_tensor(slot))

    def _offers(self, accelerator: str) -> bool:
        return accelerator == "cpu" or accelerator.startswith(DELEGATE)

    def _open(self, path: str, config: Config) -> Tuple[List[Tensor], List[Tensor]]:
        self._config = config
        self._external = config.accelerator.startswith(DELEGATE)
        self._interpreter = self._make(model_path=path)
        if self._external:
            self._count_external(config.accelerator)
        return describe(self._interpreter)

    def _make(self, **model: Any) -> Any:
        """An interpreter of a model's path or content, as the job wants it."""
        cls, config = self.interpreter_class(), self._config
        module = sys.modules[cls.__module__]
        options: Dict[str, Any] = {}
        if self._keep_all:
            options["experimental_preserve_all_tensors"] = True
        if not config.xnnpack:
            options["experimental_op_resolver_type"] = without_xnnpack(module)
        if self._external:
            before = time.perf_counter_ns()
            options["experimental_delegates"] = [_delegate(module, config)]
            self.setup_ns += time.perf_counter_ns() - before
        return cls(num_threads=config.threads, **model, **options)

    def _count_external(self, accelerator: str) -> None:
        """What the external delegate took, before XNNPACK takes its share of the rest."""
        self._ops = count_nodes(self._interpreter)
        if self._ops.delegated != 0:
            self.actual = accelerator

    def _allocate(self, shapes: List[Shape]) -> Callable[[], Any]:
        return _allocated(self._interpreter, shapes)

    def _set(self, tensor: Tensor, value: np.ndarray) -> None:
        self._interpreter.set_tensor(tensor.slot, value)

    def _get(self, tensor: Tensor) -> np.ndarray:
        return np.asarray(self._interpreter.get_tensor(tensor.slot))

    def time_operations(self, path: str, sample: List[np.ndarray]) -> Dict[str, Any]:
        """Estimated from the graph cut off after each of its operations. AgentError."""
        from edgepack_agent import prefixes

        nodes = _nodes(self._interpreter)
        if nodes is None:
            return super().time_operations(path, sample)
        original = [node for node in nodes if not _is_partition(node)]
        named = [(node[0], node[3]) for node in original]
        load = functools.partial(self._load_cut, sample)
        return prefixes.profile(path, load, named, _replaced(nodes, original))

    def _load_cut(self, sample: List[np.ndarray], content: bytes) -> Callable[[], Any]:
        interpreter = self._make(model_content=content)
        invoke = _allocated(interpreter, [value.shape for value in sample])
        for detail, value in zip(interpreter.get_input_details(), sample):
            interpreter.set_tensor(detail["index"], value)

        def run(kept: Tuple[Any, bytes] = (interpreter, content)) -> None:
            invoke()

        return run

    def ops(self) -> Ops:
        """Counted from the interpreter's nodes, where it lists them (not a public call)."""
        return self._ops if self._external else count_nodes(self._interpreter)


def _allocated(interpreter: Any, shapes: Sequence[Shape]) -> Callable[[], Any]:
    """What runs one inference with inputs of these shapes."""
    for detail, shape in zip(interpreter.get_input_details(), shapes):
        if tuple(detail["shape"]) != shape:
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    # Interpreter.invoke adds about a microsecond of Python, a quarter of a small model:
    # it checks for views into tensors, of which this class hands out none.
    wrapped = getattr(interpreter, "_interpreter", None)
    invoke: Callable[[], Any] = getattr(wrapped, "Invoke", interpreter.invoke)
    return invoke


def without_xnnpack(module: Any) -> Any:
    """The op resolver of a runtime's module that leaves its default delegates out. EP504."""
    kinds = getattr(module, "OpResolverType", None)
    if kinds is None:
        raise unavailable(
            "this version of the runtime cannot switch XNNPACK off", "Bring a newer version."
        )
    return kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _delegate(module: Any, config: Config) -> Any:
    library = config.accelerator[len(DELEGATE) :]
    try:
        # First without the runtime, whose own attempt leaves half an object behind.
        if not hasattr(ctypes.CDLL(library), "tflite_plugin_create_delegate"):
            raise ValueError("it has no tflite_plugin_create_delegate: not a TFLite delegate")
        return module.load_delegate(library, config.delegate_options)
    except (OSError, ValueError) as error:
        raise unavailable(
            "the delegate %s cannot be loaded: %s" % (library, " ".join(str(error).split())),
            "Give the library's path on the device and the options that its vendor documents.",
        ) from None


def describe(interpreter: Any) -> Tuple[List[Tensor], List[Tensor]]:
    """The inputs and outputs of an interpreter's model."""
    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    # Signatures with tensor indices, which the public get_signature_list leaves out.
    listing = getattr(interpreter, "_get_full_signature_list", None)
    signature = _matching_signature(listing() if listing else {}, inputs)
    return (
        [_tensor(detail, signature.get("inputs", {})) for detail in inputs],
        [_tensor(detail, signature.get("outputs", {})) for detail in outputs],
    )


def survey(path: str, interpreter: Any) -> Tuple[Tuple[List[Tensor], List[Tensor]], Ops]:
    """`describe` and `count_nodes` of a file, by this class of interpreters without XNNPACK."""
    resolver = without_xnnpack(sys.modules[interpreter.__module__])
    plain = interpreter(model_path=path, experimental_op_resolver_type=resolver)
    return describe(plain), count_nodes(plain)


def on_cpu(ops: Ops, config: Config, accelerated: bool) -> Ops:
    """The operations of a CompiledModel on the CPU.

    XNNPACK took all (`accelerated`) or none; how many it took of some, LiteRT does not tell.
    """
    if not config.xnnpack:
        return ops
    return ops._replace(delegated=ops.total if accelerated else None, left=())


Node = Tuple[str, Sequence[int], Sequence[int], str]


def _nodes(interpreter: Any) -> Optional[List[Node]]:
    listing = getattr(interpreter, "_get_ops_details", None)
    if listing is None:
        return None
    # tflite-runtime's nodes come without their tensors' types.
    types = {detail["index"]: detail["dtype"] for detail in interpreter.get_tensor_details()}
    found = []
    for node in listing():
        ends = [list(node["inputs"]), list(node["outputs"])]
        number = precision(*([types[t] for t in end if t in types] for end in ends))
        found.append((node["op_name"], ends[0], ends[1], number))
    return found


def count_nodes(interpreter: Any) -> Ops:
    """`count_ops` of an interpreter's model; nothing is known where it does not list its nodes."""
    nodes = _nodes(interpreter)
    return UNKNOWN if nodes is None else count_ops(nodes)


def count_ops(nodes: Sequence[Node]) -> Ops:
    """Operations in all, and how many of them lie inside a delegate's partition.

    `nodes` are (name, input tensors, output tensors, number format).
    """
    original = [node for node in nodes if not _is_partition(node)]
    replaced = _replaced(nodes, original)
    types: Dict[str, int] = {}
    for node in original:
        types[node[3]] = types.get(node[3], 0) + 1
    left = dict.fromkeys(node[0] for i, node in enumerate(original) if i not in replaced)
    return Ops(len(original), len(replaced), types, tuple(left))


def _is_partition(node: Node) -> bool:
    return "delegate" in node[0].lower()


def _replaced(nodes: Sequence[Node], original: Sequence[Node]) -> Dict[int, int]:
    """Places of the original nodes that delegates replaced, each with its partition's number.

    A delegate adds one node a partition at the end of the list and leaves the nodes that it
    replaced in place: those are found by walking from the partition's outputs to its inputs.
    """
    producer = {tensor: i for i, node in enumerate(original) for tensor in node[2]}
    replaced: Dict[int, int] = {}
    for number, node in enumerate(filter(_is_partition, nodes)):
        waiting = [tensor for tensor in node[2] if tensor in producer]
        while waiting:
            op = producer[waiting.pop()]
            if op in replaced:
                continue
            replaced[op] = number
            waiting += [t for t in original[op][1] if t in producer and t not in node[1]]
    return replaced


def _matching_signature(
    signatures: Dict[str, Dict[str, Dict[str, int]]], inputs: List[Dict[str, Any]]
) -> Dict[str, Dict[str, int]]:
    """The signature over exactly these input tensors; the default one when several are."""
    wanted = {int(detail["index"]) for detail in inputs}
    fitting = {
        key: value for key, value in signatures.items() if set(value["inputs"].values()) == wanted
    }
    if "serving_default" in fitting:
        return fitting["serving_default"]
    return next(iter(fitting.values()), {})


def _tensor(detail: Dict[str, Any], names: Dict[str, int]) -> Tensor:
    index = int(detail["index"])
    named = [name for name, tensor in names.items() if tensor == index]
    scale: Optional[float] = float(detail["quantization"][0]) or None
    shape = detail.get("shape_signature", detail["shape"])
    return Tensor(
        name=named[0] if named else str(detail["name"]),
        slot=index,
        shape=tuple(int(n) for n in (shape if len(shape) else detail["shape"])),
        dtype=np.dtype(detail["dtype"]),
        scale=scale,
        zero_point=int(detail["quantization"][1]),
    )
