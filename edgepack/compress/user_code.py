"""A digest of the code that a module of the user's brings along, read without running any of it.

Counted are the module and what it imports in turn, as far as the files lie beside it or below
the current folder. Installed packages and Python itself are known by their versions. Imports
whose names are made while the code runs are not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


def import_from_here() -> None:
    """Let modules in the current folder be imported, as `python -m` does."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def module_digest(module: str) -> str:
    """SHA-256 over a module's file, or all of the package it is in, and over what these import.

    ImportError when there is no such module.
    """
    import_from_here()
    top = _top(module.partition(".")[0])
    waiting = [] if top is None else list(_whole(top))
    if top is None or not waiting:
        raise ImportError(f"no module named {module}")
    roots = _roots(top)
    found: dict[Path, str] = {}
    while waiting:
        file, package = waiting.pop()
        if file in found:
            continue
        content = file.read_bytes()
        found[file] = f"{_place(file, roots)}\0{hashlib.sha256(content).hexdigest()}\n"
        if file.suffix == ".py":
            waiting += _imports(content, package, roots)
    return hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()


def _top(name: str) -> ModuleSpec | None:
    """The spec of an outermost module; finding it runs nothing."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # the latter for modules without a spec: __main__
        return None


def _whole(spec: ModuleSpec) -> Iterator[tuple[Path, str]]:
    """A module's file, or all of a package's, each with the package that it is in."""
    folders = spec.submodule_search_locations
    if folders is None:
        yield from _file(spec)
    for folder in map(Path, folders or ()):
        for file in folder.absolute().rglob("*.py"):
            inside = file.relative_to(folder.absolute()).parent
            yield file, ".".join((spec.name, *inside.parts))


def _file(spec: ModuleSpec) -> Iterator[tuple[Path, str]]:
    """The one file of a spec; none for what is built in or only a folder."""
    if spec.has_location and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).absolute(), spec.parent or ""


def _roots(spec: ModuleSpec) -> tuple[Path, ...]:
    """The folders whose code is the user's: where the module lies, and the current one."""
    places = spec.submodule_search_locations or [str(spec.origin)]
    return (*(Path(place).absolute().parent for place in places), Path.cwd())


def _place(file: Path, roots: Sequence[Path]) -> str:
    """A file's path below its root: another checkout of the same code has the same."""
    return next(file.relative_to(root).as_posix() for root in roots if file.is_relative_to(root))


def _is_ours(file: Path, roots: Sequence[Path]) -> bool:
    if not any(file.is_relative_to(root) for root in roots):
        return False
    python = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return not (_INSTALLED & set(file.parts) or any(file.is_relative_to(one) for one in python))


def _imports(content: bytes, package: str, roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The user's own files that a module's text imports, each with its package."""
    for name in _names(content, package):
        yield from (one for one in _files(name) if _is_ours(one[0], roots))


def _names(content: bytes, package: str) -> set[str]:
    """The full names of all that could be a module in a text's imports."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()  # importing it will say so
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names.update(f"{base}.{alias.name}" for alias in node.names if base)
    return names


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The full name of what `from ... import` imports from; "" where there is none."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """The files of a dotted name's parts, as far as they are modules, with their packages.

    Looked for by hand below the outermost: importlib would run the packages on the way.
    """
    package, *parts = name.split(".")
    spec = _top(package)
    if spec is None:
        return
    yield from _file(spec)
    folders = [Path(place).absolute() for place in spec.submodule_search_locations or ()]
    for part in parts:
        inner = f"{package}.{part}"
        for folder in folders:
            for ending in all_suffixes():
                found = {folder / f"{part}{ending}": package}
                found[folder / part / f"__init__{ending}"] = inner
                yield from (one for one in found.items() if one[0].is_file())
        package, folders = inner, [folder / part for folder in folders]
