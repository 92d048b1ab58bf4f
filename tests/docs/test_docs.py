"""What the documentation says is what the code does."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

import edgepack
from edgepack.cli import progress
from edgepack.cli.main import cli
from edgepack.errors import CATALOGUE
from edgepack.model import Event, Profile, RuntimeSpec
from edgepack.model.event import KINDS, STAGES
from edgepack.model.profile_keys import KEYS, RUNTIME_KEYS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in one of the languages."""
    return [
        (page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def commands() -> list[tuple[str, str]]:
    """(page, line) of every call of edgepack in a shell block, continued lines joined."""
    found = []
    for page, text in blocks("sh", "bash", "shell"):
        for line in text.replace("\\\n", " ").splitlines():
            if line.strip().removeprefix("$ ").startswith("edgepack "):
                found.append((page, line.strip().removeprefix("$ ")))
    return found


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(reference: ModuleType) -> None:
    for name, text in reference.pages().items():
        written = (reference.FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is old: run 'make reference'"


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_in_the_docs_exist_with_their_options(page: str, line: str) -> None:
    command: click.Command = cli
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(cli, info_name="edgepack")
    while isinstance(command, click.Group) and words:
        child = command.get_command(context, words[0])
        assert child is not None, f"{page}: no command '{words[0]}' in: {line}"
        command, words = child, words[1:]
    words = words[: words.index("&&")] if "&&" in words else words
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"--?[a-zA-Z][\w-]*", option) and option not in ("-h", "--help"):
            assert option in known, f"{page}: '{option}' in: {line}"


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_in_the_docs_calls_what_there_is(page: str, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("edgepack."):
            function = getattr(edgepack, ast.unparse(node.func).removeprefix("edgepack."))
            given = {str(each.arg): None for each in node.keywords}
            inspect.signature(function).bind(*node.args, **given)


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_toml_in_the_docs_parses(page: str, text: str) -> None:
    tomllib.loads(text)


def test_every_profile_key_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "profiles.md").read_text(encoding="utf-8")
    keys = {field.name for field in dataclasses.fields(Profile)} - {"name"}
    assert keys | {"extends"} == set(KEYS)
    assert {field.name for field in dataclasses.fields(RuntimeSpec)} == set(RUNTIME_KEYS)
    assert not [key for key in (*KEYS, *RUNTIME_KEYS) if f"| `{key}` |" not in page]


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_json_in_the_docs_is_what_events_prints(page: str, text: str) -> None:
    for line in text.splitlines():
        told = Event(**json.loads(line))
        assert progress.line(told) == line, page
        assert told.kind in KINDS and told.stage in STAGES, page


def test_every_kind_and_stage_of_event_is_documented() -> None:
    """Those that the code names where it tells something: by name, or to a helper that does."""
    tellers = {"Event": (), "_note": (0, 1), "_say": (0,), "_tell": (2,), "event": (0,)}
    named: set[str] = set()
    for file in (ROOT / "edgepack").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            at = tellers.get(called.rpartition(".")[2])
            if not isinstance(node, ast.Call) or at is None:
                continue
            places = [argument for number, argument in enumerate(node.args) if number in at]
            places += [each.value for each in node.keywords if each.arg in ("kind", "stage")]
            named |= {str(one.value) for one in places if isinstance(one, ast.Constant)}
    assert {"samples", "push", "search", "failed", "log"} <= named
    assert named <= {*KINDS, *STAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_error_codes_in_the_docs_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not set(re.findall(r"\bEP\d{3}\b", text)) - set(CATALOGUE)
