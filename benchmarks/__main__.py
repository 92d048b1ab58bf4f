"""Run the benchmarks against their peers and write what they print into docs/benchmarks.md.

    python -m benchmarks [--only NAME …] [--list]

Each benchmark is a process of its own, started from the root of the repository. What it prints
takes the place of its section of the page, between `<!-- begin NAME -->` and `<!-- end NAME -->`,
under the machine and the versions that it ran with; everything outside those markers stays.

Exits 1 when a benchmark failed (its section stays as it was) or missed a bar of its own (its
section says so). All of them take some hours on two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("tensorflow", "ai-edge-litert", "tensorflow-model-optimization", "paramiko")

# A script with sub-commands has a section for each; every other one is its own section.
SUB_COMMANDS = {"search": ("cheap", "widths", "regret", "kill", "peers")}
LAST = "compression"  # takes longest by far


def benchmarks() -> dict[str, tuple[str, ...]]:
    """Section of the page -> module and arguments, of every script in this folder."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        if "\ndef main(" not in file.read_text(encoding="utf-8"):
            continue
        module = f"benchmarks.{file.stem}"
        for sub in SUB_COMMANDS.get(file.stem, ()):
            found[f"{file.stem}-{sub}"] = (module, sub)
        if file.stem not in SUB_COMMANDS:
            found[file.stem] = (module,)
    found[LAST] = found.pop(LAST)
    return found


BENCHMARKS = benchmarks()


@dataclass(frozen=True)
class Outcome:
    """How one benchmark ended.

    text: what it printed. problem: "" when all went well; else what to tell.
    failed: it came to no result (a missed bar is a result).
    """

    text: str
    problem: str = ""
    failed: bool = False


def machine() -> str:
    """This machine and the versions that matter, as one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.split(",")[0]
    parts = [
        f"{cpu.group(1).strip() if cpu else platform.machine()}, {os.cpu_count()} cores",
        f"{memory_gb:.0f} GB",
        f"{system}, Linux {platform.release()}",
        f"CPython {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        ssh.replace("_", " "),
    ]
    return "; ".join(part for part in parts if part)


def run(command: tuple[str, ...]) -> Outcome:
    """Run one benchmark; its standard error passes through while it works."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stderr is not None
        said = []
        with process:
            for line in process.stderr:
                sys.stderr.write(line)
                said.append(line)
        out.seek(0)
        text = out.read().strip()
    if process.returncode == 0:
        return Outcome(text)
    last = said[-1].strip() if said else "it says nothing"
    if not text or any(line.startswith("Traceback") for line in said):
        return Outcome(text, f"ended with code {process.returncode}: {last}", failed=True)
    return Outcome(text, "below a bar")


def section(command: tuple[str, ...], outcome: Outcome, seconds: float, where: str) -> str:
    """What stands between the markers: how it was made, and the text (Markdown tables as such)."""
    today = datetime.date.today().isoformat()
    head = f"`python -m {' '.join(command)}`, {today}, {seconds:.0f} s. {where}."
    if outcome.problem:
        head += f" **{outcome.problem.capitalize()}.**"
    is_markdown = re.match(r"\|.*\|\n\| --- ", outcome.text)
    body = outcome.text if is_markdown else f"```text\n{outcome.text}\n```"
    return f"{head}\n\n{body}"


def replaced(page: str, name: str, text: str) -> str:
    """The page with that section's content replaced; a section that is new goes to the end."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {name.capitalize()}\n\n{begin}{end}\n"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    return f"{before}{begin}\n{text}\n\n{end}{after}"


def main(arguments: list[str] | None = None, page: Path = PAGE) -> int:
    """Run what was asked for; 1 when something failed or missed its bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the names, and what each one runs")
    asked = parser.parse_args(arguments)
    if asked.list:
        for name, command in BENCHMARKS.items():
            print(f"{name:14} python -m {' '.join(command)}")
        return 0
    where, problems = machine(), 0
    for name in asked.only or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        outcome = run(BENCHMARKS[name])
        seconds = time.monotonic() - began
        if not outcome.failed:
            text = section(BENCHMARKS[name], outcome, seconds, where)
            page.write_text(replaced(page.read_text(encoding="utf-8"), name, text), "utf-8")
        problems += bool(outcome.problem)
        print(f"{name}: {outcome.problem or 'ok'} ({seconds:.0f} s)", flush=True)
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
