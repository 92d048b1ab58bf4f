"""LiteRT, the maintained runtime: `ai-edge-litert` on PyPI."""

from typing import Any

from edgepack_agent.runtimes.tflite_interpreter import TfliteInterpreter


class LiteRt(TfliteInterpreter):
    """The Interpreter of ai-edge-litert; XNNPACK is its CPU delegate by default."""

    name = "ai-edge-litert"

    def interpreter_class(self) -> Any:
        """ImportError when ai-edge-litert is missing or does not fit this Python."""
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
