"""Python sources without what only people read, for a file that travels to small boards."""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_HOLDERS = (ast.Module, ast.ClassDef, *_FUNCTIONS)


def strip(source: str) -> str:
    """`source` without comments, docstrings, types and what was imported for these alone, and
    with every line where it was.

    A docstring that is all of a body stays, empty. Types stay in the bodies of classes, which
    may be made of them, and where they take several lines.

    Lines are indented by a quarter of what they were, and within them only those spaces stay that
    part two words. Tracebacks so name the lines of the original. SyntaxError when it does not
    parse.
    """
    lines = source.splitlines(keepends=True)
    for row, start, stop in sorted(_spans(source, lines), reverse=True):
        lines[row] = lines[row][:start] + lines[row][stop:]
    bare = [line.rstrip() for line in lines]
    inside = _inside_strings("\n".join(bare) + "\n")
    shallow = (line if row in inside else _shallow(line) for row, line in enumerate(bare))
    return _tight(_without_unused("".join(f"{line}\n" for line in shallow)))


def _without_unused(source: str) -> str:
    """`source` with those names imported from `typing` that it says anywhere else."""

    def used(line: re.Match[str]) -> str:
        rest = source.replace(line[0], "")
        names = [name for name in line[1].split(", ") if re.search(rf"\b{name}\b", rest)]
        return f"from typing import {', '.join(names)}" if names else ""

    return re.sub(r"^from typing import (\w+(?:, \w+)*)$", used, source, flags=re.MULTILINE)


# CPython 3.12 and newer take an f-string apart.
_F_STRING = (getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1))
_WORDS = (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, *_F_STRING)
_BREAKS = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def _tight(source: str) -> str:
    """`source` without the spaces that no word needs, indentation of logical lines apart."""
    lines = source.splitlines(keepends=True)
    depth = 0  # in f-strings, which stay as they are
    spans = []
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    for before, token in itertools.pairwise(tokens):
        depth += (before.type == _F_STRING[0]) - (before.type == _F_STRING[1])
        if depth == 0 and before.end[0] == token.start[0] and token.type not in _BREAKS:
            needed = before.type in _WORDS and token.type in _WORDS
            spans.append((token.start[0] - 1, before.end[1] + needed, token.start[1]))
    for row, start, stop in reversed(spans):
        if start < stop:
            lines[row] = lines[row][:start] + lines[row][stop:]
    return "".join(lines)


def _inside_strings(source: str) -> set[int]:
    """The rows, from 0, that begin within a string: their spaces are its own."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {row for token in tokens for row in range(token.start[0], token.end[0])}


def _shallow(line: str) -> str:
    code = line.lstrip(" ")
    return " " * ((len(line) - len(code)) // 4) + code


def _spans(source: str, lines: list[str]) -> list[tuple[int, int, int]]:
    """(row, first column, column behind the last) of all that goes, rows from 0."""
    found = [
        (token.start[0] - 1, token.start[1], token.end[1])
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _HOLDERS) and ast.get_docstring(node, clean=False) is not None:
            found += _docstring(node.body[0], lines, quotes=0 if len(node.body) > 1 else 3)
        if not isinstance(node, ast.ClassDef):
            found += _types(node, lines)
    return found


def _types(node: ast.AST, lines: list[str]) -> Iterator[tuple[int, int, int]]:
    """The types of a function's parameters and of what it returns, and of the variables that are
    set right below any other node."""
    if isinstance(node, _FUNCTIONS):
        for name in ast.walk(node.args):
            if isinstance(name, ast.arg) and name.annotation is not None:
                start = name.col_offset + len(name.arg.encode())
                yield from _on_a_line(name.lineno, start, name.annotation, lines)
        if node.returns is not None:
            before = lines[node.returns.lineno - 1].encode()[: node.returns.col_offset]
            yield from _on_a_line(node.returns.lineno, before.rfind(b" ->"), node.returns, lines)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AnnAssign) and child.value is not None:
            start = child.target.end_col_offset or 0
            yield from _on_a_line(child.lineno, start, child.annotation, lines)


def _on_a_line(
    number: int, start: int, annotation: ast.expr, lines: list[str]
) -> Iterator[tuple[int, int, int]]:
    """From byte `start` of that line to the annotation's end, where that is on the same line."""
    if start >= 0 and annotation.end_lineno == number:
        line = lines[number - 1].encode()
        end = annotation.end_col_offset
        yield number - 1, len(line[:start].decode()), len(line[:end].decode())


def _docstring(docstring: ast.stmt, lines: list[str], quotes: int) -> list[tuple[int, int, int]]:
    """A docstring, without so many of the quotes on either side.

    ast counts columns in bytes; only the closing quotes can stand behind other letters.
    """
    assert docstring.end_lineno is not None and docstring.end_col_offset is not None
    first, last = docstring.lineno - 1, docstring.end_lineno - 1
    start = docstring.col_offset + quotes
    stop = len(lines[last].encode()[: docstring.end_col_offset].decode()) - quotes
    if first == last:
        return [(first, start, stop)]
    between = [(row, 0, len(lines[row])) for row in range(first + 1, last)]
    return [(first, start, len(lines[first])), *between, (last, 0, stop)]
