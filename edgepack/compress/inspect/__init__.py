"""What is in a model: counts read from a `.tflite`, and the whole picture of any source model.

`summarize` is cheap and needs only the flatbuffer; `edgepack.compress.inspect.api.inspect`
opens every kind of model.
"""

from edgepack.compress.inspect.summary import Summary, summarize

__all__ = ["Summary", "summarize"]
