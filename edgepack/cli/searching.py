"""How a search and its outcome are shown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepack.model import Event
from edgepack.report.text import plain, size, with_interval
from edgepack.searching.telling import counted, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from edgepack.searching.answers import Answer
    from edgepack.searching.asking import Found
    from edgepack.searching.study import Study


def begun(study: Study) -> Event:
    """What a person needs to come back to a search that was cut short."""
    request = study.request
    limit = f" or {request.seconds:.0f} s" if request.seconds else ""
    message = f"search {study.name}: up to {counted(request.trials, 'trial')}{limit}"
    return Event(kind="stage", stage="search", message=message)


def verdict(found: Found) -> Iterator[Event]:
    """What `show` says at the end, a line an event: for `--events`."""
    for answer in found.conclusion.answers:
        variant = answer.best.variant if answer.best else None
        for line in (_headline(answer), *_bindings(found, answer)):
            yield _verdict(line, answer.device, variant)
    for note in found.conclusion.notes:
        yield _verdict(note)
    for device, why in found.conclusion.lost.items():
        yield _verdict(f"could not be measured: {why}", device)


def _verdict(message: str, device: str | None = None, variant: str | None = None) -> Event:
    return Event(kind="verdict", stage="search", message=message, device=device, variant=variant)


def show(found: Found) -> None:
    """The finalists of every device, the best, or what binds."""
    from rich.console import Console

    console = Console()
    failed = sum(not one.ok for one in found.tried)
    trials = counted(len(found.tried), "trial") + (f", {failed} failed" if failed else "")
    console.print(f"search {found.name}: {trials}", style="bold", markup=False)
    for answer in found.conclusion.answers:
        _device(answer, console)
        _outcome(found, answer, console)
    for note in found.conclusion.notes:
        console.print(note, markup=False)
    for device, why in found.conclusion.lost.items():
        lost = plain(f"{device} could not be measured: {why}")
        console.print(lost, style="bold red", markup=False)
    for run in found.conclusion.runs:
        console.print(f"finalists measured in run {run.run_id}", style="dim", markup=False)


def _device(answer: Answer, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(answer.device)), title_justify="left", box=None, pad_edge=False)
    table.add_column("", width=1)
    table.add_column("variant", overflow="fold", min_width=8)
    for title in ("p50 ±95% CI", "speed-up", "quality", "lost", "size", "budget"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in sorted(answer.finals, key=lambda final: final.latency_us):
        table.add_row(
            "*" if one in answer.front else "",
            Text(plain(one.named)),
            with_interval(one.latency_us, one.latency_ci95_us),
            f"{one.speedup:.2f}×",
            "–" if one.quality is None else f"{one.quality:.4f}",
            "–" if one.quality_delta is None else f"{-one.quality_delta:+z.4f}",
            size(one.bytes),
            "met" if one.fits else "missed",
        )
    console.print(table)
    console.print("* no other is better in latency, quality and size at once", style="dim")


def _outcome(found: Found, answer: Answer, console: Console) -> None:
    best, written = answer.best, found.written.get(answer.device)
    style = "bold green" if best else "bold red"
    console.print(f"{answer.device}: {_headline(answer)}", style=style, markup=False)
    for line in _bindings(found, answer):
        console.print(f"  {line}", markup=False)
    if best is not None and best.trial is not None:
        console.print(f"  its recipe: edgepack recipe show {found.name}/{best.trial}", markup=False)
    if written is not None:
        console.print(f"  its package: {written}", markup=False)


def _headline(answer: Answer) -> str:
    best = answer.best
    if best is None:
        return "nothing meets the budget"
    return f"{best.named} meets the budget, {best.speedup:.2f}× as fast as the float source"


def _bindings(found: Found, answer: Answer) -> list[str]:
    return [said(one, error=found.conclusion.by_error) for one in answer.binding]
