"""Compress Keras models to small, fast TFLite, measure them on your own devices, decide.

    import edgepack

    built = edgepack.build("model.keras", data="d.npz", recipes=["int8"])
    result = edgepack.bench(built, devices=["pi4", "local"])
    result                          # a table in a notebook; result.document() for everything
    edgepack.compare("latest", baseline="latest~1")
    edgepack.search("model.keras", data="d.npz", budget="budget.toml", seconds=1200)

The functions are those of `edgepack.library`, imported when they are first used: `import
edgepack` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepack.errors import EdgepackError as EdgepackError
    from edgepack.library import Built as Built
    from edgepack.library import Result as Result
    from edgepack.library import SearchResult as SearchResult
    from edgepack.library import bench as bench
    from edgepack.library import build as build
    from edgepack.library import compare as compare
    from edgepack.library import search as search

__version__ = "0.1.0"
__all__ = [
    "Built",
    "EdgepackError",
    "Result",
    "SearchResult",
    "bench",
    "build",
    "compare",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edgepack import errors, library

    return getattr(errors if name == "EdgepackError" else library, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
