"""edgepack as a library: what the command line does, as typed functions for scripts and notebooks.

Errors are `EdgepackError`s with the codes of docs/reference/errors.md, raised before anything is
measured where that can be known. What goes wrong on a device raises nothing: it is in the result,
as on the command line. Statistics and their sources: docs/explanation/statistics.md.
"""

from edgepack.library.runs import Built, Result, bench, build, compare
from edgepack.library.searches import SearchResult, search

__all__ = ["Built", "Result", "SearchResult", "bench", "build", "compare", "search"]
