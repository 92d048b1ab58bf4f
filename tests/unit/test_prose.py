"""What travels to a board behaves as what is in the repository, line by line."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from edgepack import prose, resources

AGENT = sorted(resources.agent_source().rglob("*.py"))


class Untyped(ast.NodeTransformer):
    """Types of parameters, results and variables go; those of a class's fields stay."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [e if isinstance(e, ast.AnnAssign) else self.visit(e) for e in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def from_typing(node: ast.AST) -> set[str]:
    """What an import takes from typing."""
    here = isinstance(node, ast.ImportFrom) and node.module == "typing"
    return {alias.name for alias in node.names} if here else set()


def shape(source: str) -> list[tuple[str, int | None]]:
    """Every node with its line, without types, and without docstrings, emptied where they are
    all of a body."""
    tree = Untyped().visit(ast.parse(source))
    tree.body = [node for node in tree.body if not from_typing(node)]
    for node in ast.walk(tree):
        holder = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if holder and ast.get_docstring(node, clean=False) is not None:
            only = ast.Expr(ast.Constant(""), lineno=node.body[0].lineno)
            node.body = node.body[1:] or [only]
    return [
        (ast.dump(node, include_attributes=False), getattr(node, "lineno", None))
        for node in ast.walk(tree)
    ]


@pytest.mark.parametrize("file", AGENT, ids=[file.stem for file in AGENT])
def test_the_agents_code_and_its_lines_stay(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    assert shape(prose.strip(source)) == shape(source)


@pytest.mark.parametrize("file", AGENT, ids=[file.stem for file in AGENT])
def test_of_typing_what_is_used_stays(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    before, after = (ast.parse(text) for text in (source, prose.strip(source)))
    taken = {name for node in before.body for name in from_typing(node)}
    kept = {name for node in after.body for name in from_typing(node)}
    assert kept == taken & {node.id for node in ast.walk(after) if isinstance(node, ast.Name)}


def test_a_body_that_is_a_docstring_stays_a_body() -> None:
    source = 'class E(Exception):\n    """Why."""\n'
    stripped = prose.strip(source)
    scope: dict[str, type] = {}
    exec(stripped, scope)
    assert issubclass(scope["E"], Exception) and scope["E"].__doc__ == ""


def test_prose_goes_and_what_looks_like_it_stays() -> None:
    source = (
        '"""One line."""\n'
        "import os  # why\n"
        "def f(x):\n"
        '    """First.\n\n    Ünïcode, then the end.  """\n'
        '    text = "# not a comment"  # a comment\n'
        '    block = """kept\n    kept too"""\n'
        "    return text, block\n"
    )
    stripped = prose.strip(source)
    assert "why" not in stripped and "First" not in stripped and "a comment\n" not in stripped
    scope: dict[str, object] = {}
    exec(stripped, scope)
    assert scope["f"](0) == ("# not a comment", "kept\n    kept too")  # type: ignore[operator]
    assert stripped.count("\n") == source.count("\n")


def test_types_go_where_nothing_is_made_of_them() -> None:
    source = (
        "from typing import NamedTuple, Optional\n"
        "class Point(NamedTuple):\n"
        "    x: int\n"
        "    y: Optional[int] = None\n"
        'def f(a: "Point", *more: int, ä: str = "->: int", **rest: int) -> "Optional[Point]":\n'
        '    ü: str = "ö"; found: "list[int]" = [a.x]\n'
        "    found[0]: int = 7\n"
        "    return Point(found[0] + sum(more)), ä, ü, rest\n"
    )
    stripped = prose.strip(source)
    assert 'def f(a,*more,ä="->: int",**rest):' in stripped
    assert "y:Optional[int]=None" in stripped
    scope: dict[str, object] = {}
    exec(stripped, scope)
    made = scope["f"](scope["Point"](1), 2, ä="z", k=3)  # type: ignore[operator]
    assert made == ((9, None), "z", "ö", {"k": 3})


def test_words_and_strings_stay_apart() -> None:
    source = (
        "def f(a, *, b=1):\n"
        "    x = a if a else - b\n"
        '    return f"{a + b} : { x !r}" if x else ("a"  "b", not a, b"c" [0], 1 if a else 2)\n'
    )
    stripped = prose.strip(source)
    assert "x=a if a else-b" in stripped
    scope: dict[str, Any] = {}
    exec(stripped, scope)
    assert scope["f"](2) == "3 : 2" and scope["f"](0, b=0) == ("ab", True, 99, 2)
