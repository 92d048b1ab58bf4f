"""The agent that edgepack ships to a board: stores blobs, measures variants, reports events.

It runs as a zipapp on CPython 3.8 to 3.13 with the standard library, NumPy and one TFLite
runtime, and never imports edgepack. NumPy and the runtime are imported only in `worker`
children, so that `serve` stays small on a board with 512 MB.
"""

__version__ = "0.1.0"
