"""LiteRT's CompiledModel: the interface through which the GPU and NPUs are reached."""

import functools
import re
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes import npu
from edgepack_agent.runtimes.base import (
    Config,
    Ops,
    Runtime,
    Shape,
    Tensor,
    check_batch,
    unavailable,
)
from edgepack_agent.runtimes.stderr import captured
from edgepack_agent.runtimes.tflite_interpreter import on_cpu, survey

# LiteRT says these on standard error and nowhere else.
_SHARE = re.compile(r"(\d+) operations will run on the GPU, and the remaining (\d+)")
_ADAPTER = re.compile(r"Selected adapter: ([^\n]+)")
_LEFT = re.compile(r"not supported by GPU delegate:\n(.*?)\n\d+ operations", re.DOTALL)
_REASON = re.compile(r"(?:ERROR|Warning|WARNING): ([^\n]*(?:dapter|Vulkan|delegate)[^\n]*)")
_PARTIAL = "Some ops are not accelerated"


class CompiledLiteRt(Runtime):
    """One CompiledModel of ai-edge-litert, on the CPU, the GPU or an NPU.

    On the GPU and on NPUs `invoke` ends when the outputs are in the host's memory: `run` alone only
    queues the work. The GPU has no silent way out to the CPU: it alone is asked first, and when it
    cannot take every operation the CPU is let in for the rest, and the shares are counted.
    """

    name = "ai-edge-litert"

    def interpreter_class(self) -> Any:
        """ImportError when ai-edge-litert is missing, or older than CompiledModel."""
        from ai_edge_litert.compiled_model import CompiledModel

        return CompiledModel

    def _offers(self, accelerator: str) -> bool:
        return accelerator in ("cpu", "gpu") or npu.is_npu(accelerator)

    def _survey(self, path: str) -> None:
        """Quantization and operations, which CompiledModel does not tell."""
        from ai_edge_litert.interpreter import Interpreter

        self._described, self._ops = survey(path, Interpreter)

    def _open(self, path: str, config: Config) -> Tuple[List[Tensor], List[Tensor]]:
        self._apart = config.accelerator != "cpu"
        if config.accelerator == "gpu":
            self._open_gpu(path, config)
        elif self._apart:
            self._open_npu(path, config)
        else:
            self._model = self._compile(path, config, "CPU")
            self._ops = on_cpu(self._ops, config, self._model.is_fully_accelerated())
        return self._described

    def _compile(
        self,
        path: str,
        config: Config,
        *accelerators: str,
        environment: Any = None,
        **vendor: Any,
    ) -> Any:
        from ai_edge_litert import compiled_model as litert

        chosen = functools.reduce(
            lambda one, other: one | other,
            [litert.HardwareAccelerator[name] for name in accelerators],
        )
        kernels = None if config.xnnpack else litert.CpuKernelMode.BUILTIN
        cpu = litert.CpuOptions(num_threads=config.threads, kernel_mode=kernels)
        options = litert.Options(hardware_accelerators=chosen, cpu_options=cpu, **vendor)
        before = time.perf_counter_ns()
        model = litert.CompiledModel.from_file(path, environment=environment, options=options)
        self.setup_ns += time.perf_counter_ns() - before  # reading the file is no call of its own
        return model

    def _open_gpu(self, path: str, config: Config) -> None:
        refusal = None
        with captured() as log:
            try:
                self._model = self._compile(path, config, "GPU")
            except RuntimeError as error:
                refusal = str(error)
        self.adapter = _first(_ADAPTER, log.text)
        if refusal is None:
            self.actual = "gpu"
            self._ops = self._ops._replace(delegated=self._ops.total, left=())
        elif _PARTIAL in refusal:
            self._ops = self._shared(log.text)
            self.actual = "cpu" if self._ops.delegated == 0 else "gpu"
            self._restart_clock()  # the refused attempt is no part of loading
            self._model = self._compile(path, config, "GPU", "CPU")
        else:
            raise _refused(log.text, refusal)

    def _open_npu(self, path: str, config: Config) -> None:
        from ai_edge_litert import compiled_model as litert

        dispatch = npu.find(config.accelerator, Path(litert.__file__).parent)
        vendor = npu.options(litert, dispatch.library, config.delegate_options)
        with captured() as log:
            try:
                environment = litert.Environment.create(
                    dispatch_library_path=str(dispatch.library.parent),
                    compiler_plugin_path=str(dispatch.compiler),
                )
                self._model = self._compile(
                    path, config, "NPU", "CPU", environment=environment, **vendor
                )
            except RuntimeError as error:
                raise npu.refused(log.text, str(error)) from None
        taken = npu.taken(log.text, self._ops)
        if not taken and npu.failed(log.text):
            raise npu.refused(log.text, "its compiler plug-in failed")
        self.adapter = npu.device(log.text)
        self.actual = config.accelerator if taken else "cpu"
        self._ops = self._ops._replace(delegated=taken, left=self._ops.left if not taken else ())

    def _shared(self, log: str) -> Ops:
        """The GPU's part, as LiteRT's log has it, and why it refused the others."""
        share = _SHARE.search(log)
        refused = _first(_LEFT, log) or ""
        left = tuple(line.strip() for line in refused.splitlines() if line.strip())
        return self._ops._replace(delegated=int(share.group(1)) if share else None, left=left)

    def _allocate(self, shapes: List[Shape]) -> Callable[[], Any]:
        model = self._model
        key, names = self._signature()
        given = {each["index"]: each for each in model.get_input_tensor_details(key).values()}
        for tensor, shape in zip(self.inputs, shapes):
            if tuple(given[tensor.slot]["shape"]) != shape:
                model.resize_input_tensor_by_name(key, names[tensor.slot], shape, strict=False)
        details = model.get_output_tensor_details(key)
        self._shapes = {each["index"]: tuple(each["shape"]) for each in details.values()}
        if self._resized:
            check_batch(self._shapes.values(), shapes[0][0])
        number = model.get_signature_index(key)
        listed = model.get_signature_list()[key]
        inputs = dict(zip(listed["inputs"], model.create_input_buffers(number)))
        outputs = dict(zip(listed["outputs"], model.create_output_buffers(number)))
        self._inputs: Dict[int, Any] = {slot: inputs.get(name) for slot, name in names.items()}
        self._outputs: Dict[int, Any] = {slot: outputs.get(name) for slot, name in names.items()}
        self._read: Dict[int, np.ndarray] = {}
        # What CompiledModel.run_by_index calls, without making its lists anew every time.
        run = functools.partial(
            model._model.RunByIndex,
            number,
            [buffer.capsule for buffer in inputs.values()],
            [buffer.capsule for buffer in outputs.values()],
        )
        return functools.partial(self._run_and_wait, run) if self._apart else run

    def _signature(self) -> Tuple[str, Dict[int, str]]:
        """The signature over the model's inputs, and its names by tensor index."""
        wanted = {tensor.slot for tensor in self.inputs}
        for key in self._model.get_signature_list():
            inputs = self._model.get_input_tensor_details(key)
            names = {each["index"]: name for name, each in inputs.items()}
            if set(names) == wanted:
                outputs = self._model.get_output_tensor_details(key)
                names.update({each["index"]: name for name, each in outputs.items()})
                return key, names
        raise ValueError("no signature takes the model's inputs")

    def _run_and_wait(self, run: Callable[[], Any]) -> None:
        run()
        for tensor in self.outputs:
            self._read[tensor.slot] = self._fetch(tensor)

    def _fetch(self, tensor: Tensor) -> np.ndarray:
        shape = self._shapes[tensor.slot]
        elements = int(np.prod(shape))
        return self._outputs[tensor.slot].read(elements, tensor.dtype).reshape(shape)

    def _set(self, tensor: Tensor, value: np.ndarray) -> None:
        self._inputs[tensor.slot].write(value)

    def _get(self, tensor: Tensor) -> np.ndarray:
        return self._read[tensor.slot] if self._apart else self._fetch(tensor)

    def ops(self) -> Ops:
        """As counted when the model was compiled."""
        return self._ops


def _first(pattern: "re.Pattern[str]", text: str) -> Optional[str]:
    found = pattern.search(text)
    return found.group(1) if found else None


def _refused(log: str, error: str) -> AgentError:
    """EP504 with the driver's or the delegate's own words, which the exception leaves out."""
    reasons = list(dict.fromkeys(_REASON.findall(log)))[-2:]
    why = "; ".join(reasons) or " ".join(error.split())
    hint = "Check the device's Vulkan driver (vulkaninfo), or ask for --accelerator cpu."
    if reasons and not re.search("dapter|Vulkan", why):
        hint = "It is the model that cannot run there; ask for --accelerator cpu."
    return unavailable("the GPU does not take this model here: %s" % why, hint)
