"""`edgepack report`: a stored run or search as one file, in the format of the file's ending."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options, stored
from edgepack.errors import EdgepackError

if TYPE_CHECKING:
    from edgepack.concluding import Conclusion
    from edgepack.pipeline import Outcome

ENDINGS = (".html", ".md", ".xml", ".json")
OF_SEARCHES = (".html", ".json")
# What `asking.new_name` makes; no run's id begins so.
_SEARCH = re.compile(r"search:(?P<ref>.+)|(?P<id>s\d{8}T\d{6}.*)")


@click.command()
@stored.run_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="*.html, .md, .xml or .json.")
@click.option("--budget", metavar="FILE", help="A TOML file of limits to show the verdict of.")
@stored.baseline_option
def report(run: str, output: str, budget: str | None, baseline: str) -> None:
    """Write RUN as one file: HTML (opens offline), Markdown, JUnit XML or JSON.

    RUN may be a search, by its id or as search:latest: its history as HTML or JSON.
    """
    ending = Path(output).suffix
    search = _SEARCH.fullmatch(run)
    check_file(output, OF_SEARCHES if search else ENDINGS)
    if search is not None:
        options.only_with({"run", "output"}, "a search", "its own budget counts")
        write_text(Path(output), searched(ending, search["ref"] or search["id"]))
        click.echo(f"Written to {output}")
        return
    found = stored.conclusion(run, baseline=baseline, budgets=options.budgets(budget))
    write_text(Path(output), rendered(ending, found))
    click.echo(f"Written to {output}")


def check_file(file: str, endings: Sequence[str] = ENDINGS) -> None:
    """EP105 where no format has the file's ending, EP603 where it cannot be written."""
    path = Path(file)
    if path.suffix not in endings:
        raise EdgepackError(
            "EP105",
            f"cannot tell the report's format from the ending '{path.suffix}'",
            where=file,
            hint=f"Use one of {', '.join(endings)}.",
        )
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not path.parent.is_dir():
        raise _unwritable(path, f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, f"nothing may be written to {path.parent}")


def rendered(ending: str, found: Conclusion | Outcome) -> str:
    """The report in the format of one of `ENDINGS`."""
    from edgepack.report import html, junit, markdown, pairs

    run, comparison, verdict = found.run, found.comparison, found.verdict
    if ending == ".html":
        return html.render(run, comparison, verdict, found.baseline)
    if ending == ".md":
        return markdown.render(run, comparison, verdict, found.baseline)
    if ending == ".xml":
        return junit.render(run, verdict)
    made = pairs.run_against(run, comparison, verdict, found.baseline)
    return json.dumps(made, indent=1, allow_nan=False) + "\n"


def searched(ending: str, ref: str) -> str:
    """A stored search in the format of one of `OF_SEARCHES`. EP601."""
    from edgepack.searching import history
    from edgepack.searching.study import Study

    study = Study.open(ref)
    if ending == ".html":
        return history.page(study)
    return json.dumps(history.document(study), indent=1, allow_nan=False) + "\n"


def write(found: Conclusion | Outcome, file: str) -> None:
    """Write the report in the format of the file's ending, and say where. EP603."""
    write_text(Path(file), rendered(Path(file).suffix, found))
    click.echo(f"Report: {file}", err=True)


def write_text(file: Path, text: str) -> None:
    """Write a report whole or not at all. EP603 when it cannot be written."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(file, str(error.strerror)) from error


def append_text(file: Path, text: str) -> None:
    """Append to a file that others write to as well. EP603 when it cannot be written."""
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise _unwritable(file, str(error.strerror)) from error


def _unwritable(file: Path, why: str) -> EdgepackError:
    return EdgepackError(
        "EP603",
        f"cannot write it: {why}",
        where=str(file),
        hint="Name another file.",
    )
