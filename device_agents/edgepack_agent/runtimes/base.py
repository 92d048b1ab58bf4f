"""What every runtime must be to the agent, and the invariants that hold for all of them."""

import abc
import time
from array import array
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgepack_agent.errors import AgentError

Shape = Tuple[int, ...]
# (prepared samples, whole) -> their latencies in nanoseconds
RunBlock = Callable[[List[List[np.ndarray]], bool], "array[int]"]


class Tensor(NamedTuple):
    """An input or output. slot: the interpreter's index of it; -1 in `shape` is a free axis;
    `scale` is None unless quantized."""

    name: str
    slot: int
    shape: Shape
    dtype: np.dtype
    scale: Optional[float]
    zero_point: int


class Config(NamedTuple):
    """How to run a model. xnnpack: whether XNNPACK may take operations on the CPU;
    delegate_options: what an external delegate is given, by name."""

    threads: int
    accelerator: str
    xnnpack: bool
    delegate_options: Dict[str, str]


class Ops(NamedTuple):
    """Operations of the model and how many of them the accelerator took; None: cannot be told.

    On the CPU the accelerator is XNNPACK. types: how many compute in each number format (see
    `precision`); left: the names of those not taken, with the runtime's reason where it says one.
    """

    total: Optional[int]
    delegated: Optional[int]
    types: Dict[str, int]
    left: Tuple[str, ...]


UNKNOWN = Ops(None, None, {}, ())


def precision(operands: Sequence[Any], results: Sequence[Any]) -> str:
    """The number format that an operation computes in, from its tensors' types.

    That of its first result; "hybrid" where float activations meet weights of 8 bits or less.
    """
    names = [np.dtype(each).name for each in results]
    first = names[0] if names else "none"
    # A DEQUANTIZE has one operand: it makes floats, and computes with none.
    if first == "float32" and len(operands) > 1:
        weights = {np.dtype(each).name for each in operands[1:]}
        if weights & {"int8", "uint8", "int4"}:
            return "hybrid"
    return first


class Runtime(abc.ABC):
    """One model in one runtime. The order of calls is open, fix_shapes, then the rest.

    `inputs` and `outputs` are in the order of the model's input and output details, under the
    names of its default signature, or its tensors' names where it has no signature.
    load_ns: what reading the model, delegate set-up and allocation took; setup_ns: the last two
    of it, as far as the runtime does them apart.
    actual: the accelerator in use, "cpu" when the one asked for took nothing.
    adapter: the GPU's name as its driver gives it.
    run_block: times inferences itself, where the runtime can do that more closely than Python
    (see `timing.run`); clock: its clock, read n times twice in a row, in nanoseconds between.
    """

    name = ""
    run_block: Optional[RunBlock] = None
    clock: Optional[Callable[[int], "array[int]"]] = None

    def __init__(self) -> None:
        self.inputs: List[Tensor] = []
        self.outputs: List[Tensor] = []
        self.invoke: Callable[[], Any] = _not_ready
        self.load_ns = self.setup_ns = 0
        self.actual = "cpu"
        self.adapter: Optional[str] = None
        self._ready = self._resized = False

    def open(self, path: str, config: Config) -> None:
        """Read the model. AgentError EP504 (no such accelerator), EP502 (not loadable)."""
        if not self._offers(config.accelerator):
            raise unavailable(
                "accelerator '%s' is not available with this interface of %s"
                % (config.accelerator, self.name),
                "'gpu' and 'npu' need --runtime ai-edge-litert/compiled, 'delegate:…' the "
                "interpreter.",
            )
        try:
            self._survey(path)
            self._restart_clock()
            self.inputs, self.outputs = self._open(path, config)
        except (ValueError, RuntimeError) as error:
            raise self._failed("cannot load the model", error) from None
        self.load_ns = time.perf_counter_ns() - self._load_began

    def fix_shapes(self, shapes: Dict[str, Shape], resized: bool = False) -> None:
        """Give every input its shape, allocate, and let `invoke` run one inference.

        `resized`: also a shape that the model was not made for, as far as the runtime goes.
        """
        for tensor in self.inputs:
            if not resized:
                _check_shape(tensor, shapes[tensor.name])
        self._resized = resized
        before = time.perf_counter_ns()
        try:
            self.invoke = self._allocate([shapes[tensor.name] for tensor in self.inputs])
        except (ValueError, RuntimeError) as error:
            raise self._failed("cannot prepare the model", error) from None
        allocated_ns = time.perf_counter_ns() - before
        self.load_ns += allocated_ns
        self.setup_ns += allocated_ns
        self._ready = True

    def set_inputs(self, values: List[np.ndarray]) -> None:
        """Copy one sample in, one array an input, each of the input's dtype and shape."""
        assert self._ready
        for tensor, value in zip(self.inputs, values):
            self._set(tensor, value)

    def read_outputs(self) -> List[np.ndarray]:
        """Copies of the outputs of the last inference."""
        assert self._ready
        return [self._get(tensor) for tensor in self.outputs]

    def ops(self) -> Ops:
        """What the model consists of. Known after fix_shapes."""
        return UNKNOWN

    def time_operations(self, path: str, sample: List[np.ndarray]) -> Dict[str, Any]:
        """The `ops` event's fields, estimated without a profiler. AgentError EP504."""
        raise unavailable(
            "%s does not let its operations be timed one by one here" % self.name,
            "Profile with the interpreter, on the CPU or an external delegate.",
        )

    def _failed(self, what: str, error: Exception) -> AgentError:
        return AgentError(
            "EP502",
            "%s %s: %s" % (self.name, what, " ".join(str(error).split())),
            "Check that this runtime's version knows the model's operations.",
        )

    @abc.abstractmethod
    def interpreter_class(self) -> Any:
        """Import the runtime and return its main class; ImportError when it is missing."""

    def _restart_clock(self) -> None:
        self._load_began = time.perf_counter_ns()
        self.setup_ns = 0

    def _offers(self, accelerator: str) -> bool:
        return accelerator == "cpu"

    def _survey(self, path: str) -> None:  # noqa: B027 (most runtimes need none)
        """Read, outside the timed span, what the runtime's own interface does not tell."""

    @abc.abstractmethod
    def _open(self, path: str, config: Config) -> Tuple[List[Tensor], List[Tensor]]: ...

    @abc.abstractmethod
    def _allocate(self, shapes: List[Shape]) -> Callable[[], Any]: ...

    @abc.abstractmethod
    def _set(self, tensor: Tensor, value: np.ndarray) -> None: ...

    @abc.abstractmethod
    def _get(self, tensor: Tensor) -> np.ndarray: ...


def unavailable(what: str, hint: str) -> AgentError:
    """EP504: the accelerator asked for is not to be had, and no other is put in its place."""
    return AgentError("EP504", what, hint, status="unsupported")


def check_batch(outputs: Iterable[Shape], batch: int) -> None:
    """Before the first inference. CompiledModel writes past the end of an output whose size only
    the inference tells. RuntimeError."""
    for shape in outputs:
        if not shape or shape[0] % batch:
            raise RuntimeError("an output keeps the shape %s" % list(shape))


def _not_ready() -> None:
    raise AssertionError("invoke before fix_shapes")


def _check_shape(tensor: Tensor, shape: Shape) -> None:
    """AgentError EP303 when `shape` does not fit the tensor's fixed axes."""
    fits = len(shape) == len(tensor.shape) and all(
        wanted in (-1, given) for wanted, given in zip(tensor.shape, shape)
    )
    if not fits:
        raise AgentError(
            "EP303",
            "the data give input '%s' the shape %s and the model takes %s"
            % (tensor.name, list(shape), list(tensor.shape)),
            "Build the model for batches of one, with data of its own input shape.",
        )
