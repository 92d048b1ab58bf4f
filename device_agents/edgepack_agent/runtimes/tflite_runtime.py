"""tflite-runtime: ended in 2023, CPython 3.11 at most, NumPy below 2; still on old boards."""

from typing import Any

from edgepack_agent.runtimes.tflite_interpreter import TfliteInterpreter


class TfliteRuntime(TfliteInterpreter):
    """The Interpreter of tflite-runtime."""

    name = "tflite-runtime"

    def interpreter_class(self) -> Any:
        """ImportError when tflite-runtime is missing or does not fit this Python or NumPy."""
        from tflite_runtime.interpreter import Interpreter

        return Interpreter
