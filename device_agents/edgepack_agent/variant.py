"""One variant inside its worker: its runtime, its model and its samples."""

import random
import time
from typing import Any, Dict, List

import numpy as np

from edgepack_agent import batches, cores, inputs, memory, quality, runtimes, timing
from edgepack_agent.cpu import CpuMeter
from edgepack_agent.errors import AgentError
from edgepack_agent.protocol import Writer
from edgepack_agent.runtimes.base import Config, unavailable

CYCLE = 256  # samples that the timed inferences go round through
OUTPUT_BYTES = 4 << 20  # of one `outputs` event before packing; an event may have 8 MiB
PROGRESS_S = 1.0


class LoadedVariant:
    """What a worker has once `load` was obeyed.

    Loading is the cold path, timed. process_ns: from the start of the worker's process until the
    runtime was imported; load_ns: reading the model, delegate set-up and allocation, the last two
    alone in setup_ns; first_ns: the first inference.
    """

    def __init__(self, command: Dict[str, Any], writer: Writer) -> None:
        self._writer = writer
        self._runtime = runtimes.create(command["runtime"], command["api"])
        self._runtime.interpreter_class()
        now = time.monotonic_ns()
        self._process_ns = now - command.get("spawned_ns", now)
        self._path, self._config = command["path"], Config(*(command[k] for k in Config._fields))
        self._runtime.open(self._path, self._config)
        self._samples = self._open_samples(command)
        if command["batch"] > 1:
            self._samples = batches.Batched(self._samples, command["batch"])
        batches.fix_shapes(self._runtime, self._samples.shapes(), command["batch"])
        self._cpu = CpuMeter()

        count = self._samples.count
        self._order = random.Random(command["seed"]).sample(range(count), min(count, CYCLE))
        self._feed = timing.Feed(self._samples.get, self._order)
        self._first_ns = timing.run(self._runtime, self._feed, 1)[0]
        batches.check_outputs(self._runtime, command["batch"])

    def _open_samples(self, command: Dict[str, Any]) -> inputs.Samples:
        wanted = self._runtime.inputs
        if command["data"] is None:
            return inputs.seeded(wanted, command["seed"])
        samples = inputs.from_file(command["data"], wanted, command["transforms"])
        if command["task"] == "classification":
            samples.check_classes([tensor.shape for tensor in self._runtime.outputs])
        return samples

    def description(self) -> Dict[str, Any]:
        """The reply to `load`: the cold path, the operations and what the samples were."""
        ops = self._runtime.ops()
        return {
            "process_ns": self._process_ns,
            "load_ns": self._runtime.load_ns,
            "setup_ns": self._runtime.setup_ns,
            "first_ns": self._first_ns,
            "inputs_sha256": self._samples.digest(self._order),
            "timer_ns": timing.timer_cost_ns(self._runtime),
            "accelerator": {
                "actual": self._runtime.actual,
                "adapter": self._runtime.adapter,
                "ops_total": ops.total,
                "ops_delegated": ops.delegated,
                "ops_left": ops.left,
                "types": ops.types,
            },
        }

    def warmup(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Run until the times are steady; nothing of it counts."""
        least, most = command["seconds"], command["most_s"]
        return timing.warm_up(self._runtime, self._feed, least, most)

    def run(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """A turn on these cores: `settle` inferences that do not count, then `n` that do.

        span_ns: how long those `n` took, with all that is between them; idle_ns: of it, when
        this process did not run.
        """
        if command["cores"]:
            cores.stay_on(command["cores"])
        timing.run(self._runtime, self._feed, command["settle"])
        start_ns = time.monotonic_ns()
        with self._cpu:
            latencies = timing.run(self._runtime, self._feed, command["n"], command["whole"])
        span_ns = time.monotonic_ns() - start_ns
        return {
            "start_ns": start_ns,
            "span_ns": span_ns,
            "idle_ns": self._cpu.idle_ns,
            "ns": timing.pack_ns(latencies),
            "mean_ns": sum(latencies) / len(latencies),
            "p50_ns": sorted(latencies)[len(latencies) // 2],
            "peak_rss_bytes": memory.peak_rss_bytes(),
            "cpu": self._cpu.reading(),
        }

    def outputs(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Send the outputs of `n` samples from `first` on, as the model gives them.

        Fewer than `n` where one event would grow too large; the reply says how many.
        """
        first = command["first"]
        n = min(first + command["n"], self._samples.count)
        if first >= n:
            return {"sent": 0}
        collected: List[List[Any]] = [[] for _ in self._runtime.outputs]
        size = 0
        for index in range(first, n):
            values = self._infer(index)
            size += max(value.nbytes for value in values)
            if index > first and size > OUTPUT_BYTES:
                break
            for column, value in zip(collected, values):
                column.append(value)
        for tensor, column in zip(self._runtime.outputs, collected):
            self._send_output(tensor, column, first)
        return {"sent": len(collected[0])}

    def _send_output(self, tensor: Any, column: List[Any], first: int) -> None:
        batched = column[0].ndim > 0 and column[0].shape[0] == 1
        stacked = np.concatenate(column) if batched else np.stack(column)
        self._writer.send(
            {
                "event": "outputs",
                "output": tensor.name,
                "dtype": str(stacked.dtype),
                "shape": list(stacked.shape),
                "n": len(column),
                "first": first,
                "data": timing.pack(np.ascontiguousarray(stacked).tobytes()),
            }
        )

    def profile(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time by operation on the first sample, by the `method` asked for: "profiler" (LiteRT's
        own), "prefixes" (the runtime's estimate) or "rounded" (LiteRT's, of an inference too short
        for it). AgentError where that one cannot be had."""
        sample = self._samples.get(self._order[0])
        if command["method"] == "prefixes":
            return self._runtime.time_operations(self._path, sample)
        if self._runtime.name != "ai-edge-litert" or self._config.accelerator != "cpu":
            raise unavailable(
                "only ai-edge-litert on the CPU has a profiler",
                "Add --runtime ai-edge-litert --accelerator cpu.",
            )
        from edgepack_agent import opprofile

        rounded = command["method"] == "rounded"
        return opprofile.profile(self._path, self._config, self._runtime.inputs, sample, rounded)

    def _infer(self, index: int) -> List[Any]:
        self._runtime.set_inputs(self._samples.get(index))
        self._runtime.invoke()
        return list(self._runtime.read_outputs())

    def quality(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """The task's metric over the first `n` samples (None: all), from the first output."""
        assert isinstance(self._samples, inputs.Samples)  # never asked of batches
        labels = self._samples.labels
        if labels is None:
            raise AgentError(
                "EP303", "the evaluation data have no labels 'y'", "Add them, or use task none."
            )
        n = min(command["n"] or self._samples.count, self._samples.count)
        metric = quality.metric(command["task"])
        told = time.monotonic()
        for index in range(n):
            output = inputs.dequantize(self._infer(index)[0], self._runtime.outputs[0])
            metric.add(output, labels[index])
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                self._writer.send({"event": "progress", "done": index + 1, "total": n})
        return {"quality": metric.result()}
