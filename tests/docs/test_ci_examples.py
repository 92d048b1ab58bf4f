"""The pipelines under examples/ci are valid YAML, and every edgepack call in them parses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from edgepack.analysis import limits
from edgepack.cli.main import cli

FILES = sorted((Path(__file__).parents[2] / "examples" / "ci").glob("*.yml"))


def scripts(document: dict) -> list[str]:
    """Every command line of a GitHub workflow or a GitLab pipeline."""
    jobs = document.get("jobs", document)
    found = []
    for job in jobs.values():
        if isinstance(job, dict):
            found += [step["run"] for step in job.get("steps", []) if "run" in step]
            found += job.get("script", [])
    return found


def calls(text: str) -> list[list[str]]:
    variables = re.compile(r"\$\{\{.*?\}\}|\$\w+")
    lines = [shlex.split(variables.sub("1", script)) for script in scripts(yaml.safe_load(text))]
    return [words[1:] for words in lines if words[0] == "edgepack"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_call_is_one_that_edgepack_understands(file: Path) -> None:
    found = calls(file.read_text(encoding="utf-8"))
    assert {words[0] for words in found} == {"run", "gate", "runs"}
    for words in found:
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            _, command, words = command.resolve_command(context, list(words))
            assert command is not None
            context = click.Context(command, parent=context)
        made = command.make_context(command.name, words)
        limits.fail_on(made.params.get("fail_on", ()))


def test_both_kinds_are_there() -> None:
    assert [file.stem for file in FILES] == ["github-actions", "gitlab-ci"]
