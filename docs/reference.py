"""Writes docs/reference/ from the code: `python docs/reference.py` (or `make reference`).

A test holds the committed pages against what this gives, so that no command, option, error,
exit code, event, pass, profile key or schema is without its line.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import edgepack
from edgepack import errors, resources
from edgepack.cli import progress
from edgepack.cli.main import COMMANDS, cli
from edgepack.compress import passes
from edgepack.compress.passes.base import Pass, Token
from edgepack.model import Event, Profile, RuntimeSpec, event, profile_keys

FOLDER = Path(__file__).parent / "reference"
_WRITTEN = "<!-- written by docs/reference.py; change the code instead -->\n\n"


def pages() -> dict[str, str]:
    """The pages by file name."""
    made = {
        "commands.md": _commands(),
        "errors.md": _errors(),
        "events.md": _events(),
        "library.md": _library(),
        "passes.md": _passes(),
        "profiles.md": _profiles(),
        "schemas.md": _schemas(),
    }
    return {name: f"{_WRITTEN}{text.rstrip()}\n" for name, text in made.items()}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _commands() -> str:
    parts = ["# Commands\n\nEvery command takes `-h` or `--help`.\n"]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        parts += _command(command, f"edgepack {name}")
    return "\n".join(parts)


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"## `{path}`\n"
    yield f"    {path} {pieces}\n"
    yield _help(command.help or "") + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, f"{path} {name}")
        return
    rows = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and (record := parameter.get_help_record(context)) is not None
    ]
    if rows:
        yield _table(("option", "meaning"), [(f"`{option}`", text) for option, text in rows])


def _help(text: str) -> str:
    """A command's help as Markdown: what click must not wrap is code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        _, mark, kept = paragraph.rpartition("\b\n")
        paragraphs.append(textwrap.indent(kept, "    ") if mark else paragraph)
    return "\n\n".join(paragraphs)


def _library() -> str:
    parts = ["# Library\n\nWhat `import edgepack` offers.\n"]
    for name in edgepack.__all__:
        what = getattr(edgepack, name)
        call = inspect.signature(what) if inspect.isfunction(what) else ""
        parts.append(f"## `edgepack.{name}`\n\n" + (f"    {name}{call}\n" if call else ""))
        parts.append(_code(inspect.getdoc(what) or ""))
        if isinstance(what, type):
            parts += _members(what)
    return "\n".join(parts)


def _members(kind: type) -> Iterator[str]:
    """The public methods and properties that a class has of its own."""
    for name, member in vars(kind).items():
        said = inspect.getdoc(member)
        if not name.startswith("_") and callable(getattr(member, "fget", member)) and said:
            yield f"`.{name}`: {' '.join(said.split())}\n"


def _code(text: str) -> str:
    """A docstring as it is, its sections kept in shape."""
    return textwrap.indent(text, "    ") + "\n"


def _errors() -> str:
    codes = [(code, title, str(int(leave))) for code, (leave, title) in errors.CATALOGUE.items()]
    exits = [(str(int(code)), code.name.lower().replace("_", " ")) for code in errors.ExitCode]
    return (
        "# Errors and exit codes\n\n"
        "An error is one message: its code, what happened, where, and what to try.\n\n"
        + _table(("code", "what", "exit code"), codes)
        + "\n## Exit codes\n\n"
        + _table(("exit code", "meaning"), exits)
    )


_TOLD = (
    Event(kind="stage", stage="build", message="building int8", variant="int8"),
    Event(kind="progress", stage="push", device="pi4", done=19_360, total=96_104),
    Event(kind="samples", stage="measure", device="pi4", variant="int8", done=4, value=812.5),
    Event(kind="measured", stage="measure", message="ok", device="pi4", variant="int8"),
)


def _events() -> str:
    hints = typing.get_type_hints(Event)
    fields = [
        (f"`{f.name}`", _json_type(hints[f.name]), event.FIELDS[f.name])
        for f in dataclasses.fields(Event)
    ]
    example = "\n".join(progress.line(told) for told in _TOLD)
    return (
        "# Events\n\n`--events` of `run`, `bench` and `search` writes what happens to standard "
        "output as it happens: one JSON object a line, with all of the fields, and nothing else. "
        "What the command found is in the store, and its verdict is the exit code; an error is "
        "told on standard error. The library hands the same events to `progress`. A reader "
        "passes over kinds, stages and fields that it does not know.\n\n"
        f"```json\n{example}\n```\n\n## Fields\n\n"
        + _table(("field", "type", "what it is"), fields)
        + "\n## Kinds\n\n"
        + _table(("kind", "what it tells"), _coded(event.KINDS))
        + "\n## Stages\n\n"
        + _table(("stage", "what is going on"), _coded(event.STAGES))
    )


def _json_type(hint: Any) -> str:
    names = {str: "string", float: "number", types.NoneType: "null"}
    return " or ".join(names[one] for one in typing.get_args(hint) or (hint,))


def _coded(meanings: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [(f"`{name}`", meaning) for name, meaning in meanings.items()]


def _profiles() -> str:
    head = ("key", "type", "default", "meaning")
    return (
        "# Profile keys\n\nWhat a profile's TOML file may say; [profiles](../profiles.md) says "
        "what they are for. What is required may come from the profile that it extends.\n\n"
        + _table(head, _keys(profile_keys.KEYS, Profile))
        + "\n## A runtime\n\nOne table of `runtimes`.\n\n"
        + _table(head, _keys(profile_keys.RUNTIME_KEYS, RuntimeSpec))
    )


def _keys(keys: Mapping[str, profile_keys.Key], noun: type[Any]) -> list[tuple[str, ...]]:
    fields = {field.name: field for field in dataclasses.fields(noun)}
    defaults = {name: _default(fields[name]) if name in fields else "none" for name in keys}
    return [(f"`{name}`", key.type, defaults[name], key.meaning) for name, key in keys.items()]


def _passes() -> str:
    parts = [
        "# Passes\n\nThe steps of a recipe. The word is what stands for the pass in a recipe's "
        "name; a TOML file gives its parameters.\n"
    ]
    for name, kind in passes.known().items():
        words = ", ".join(f"`{_word(token)}`" for token in kind.tokens) or "none: TOML only"
        parts.append(f"## `{name}`\n\n{_sentence(kind.summary)} Word: {words}.\n")
        parts.append(_parameters(kind))
    return "\n".join(parts)


def _word(token: Token) -> str:
    number = "NN" if token.number else ""
    return token.word + (number if token.required or not number else f"[{number}]")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _parameters(kind: type[Pass]) -> str:
    fields = dataclasses.fields(kind.Params)
    if not fields:
        return ""
    hints = typing.get_type_hints(kind.Params)
    rows = [(f"`{f.name}`", _type(hints[f.name]), _default(f)) for f in fields]
    documented = (base for base in kind.Params.__mro__ if dataclasses.is_dataclass(base))
    said = "\n\n".join(inspect.cleandoc(base.__doc__ or "") for base in documented)
    return f"{said}\n\n{_table(('parameter', 'type', 'default'), rows)}"


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_type(one) for one in typing.get_args(hint) if one is not type(None))
    return hint.__name__ if type(hint) is type else str(hint)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    if field.default is dataclasses.MISSING:
        return "required"
    value = field.default
    return "none" if value is None else f"`{json.dumps(value, default=str)}`"


def _schemas() -> str:
    root = resources.agent_source().parent.parent
    found = sorted(
        [*(root / "edgepack").rglob("*.schema.json"), *resources.agent_source().rglob("*.json")]
    )
    rows = []
    for file in found:
        schema = json.loads(file.read_text(encoding="utf-8"))
        place = f"`{file.relative_to(root).as_posix()}`"
        rows.append((schema.get("title", file.stem), place, schema.get("description", "")))
    return (
        "# JSON Schemas\n\nEvery document that edgepack prints names its schema in `schema`; "
        "these are committed beside the code that writes them.\n\n"
        + _table(("document", "schema", "what it is"), rows)
    )


def main() -> int:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
