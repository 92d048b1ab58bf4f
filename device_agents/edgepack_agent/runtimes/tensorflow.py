"""TensorFlow's own TFLite interpreter, for a board that has TensorFlow and nothing smaller."""

from typing import Any

from edgepack_agent.runtimes.tflite_interpreter import TfliteInterpreter


class TensorFlow(TfliteInterpreter):
    """The Interpreter of tensorflow."""

    name = "tensorflow"

    def interpreter_class(self) -> Any:
        """ImportError when TensorFlow is missing, or comes without TFLite."""
        from tensorflow.lite.python.interpreter import Interpreter

        return Interpreter
