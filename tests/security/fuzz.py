"""Fuzzing guided by coverage: every parser of `parsers` in a process of its own, with atheris.

    python -m tests.security.fuzz --seconds 60

Prints a table, and exits with 1 when an input ends otherwise than with a value or a coded error;
that input is kept in the folder named. Needs atheris (Linux on x86_64).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_WATCHED = [
    "edgepack", "edgepack_agent", "tests.security.planted", "configparser", "tomllib", "yaml",
    "zipfile",
]  # fmt: skip
"""What guides the fuzzer: edgepack, and the libraries in Python that read for it."""
_MOST_BYTES = 8192  # of an input; the examples are smaller
_MEMORY_MB = 3072
_SLOWEST_S = 20  # for one input: libFuzzer calls what takes longer a finding


def child(name: str, corpus: Path, options: Sequence[str]) -> None:
    """Fuzz one parser. libFuzzer ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=_WATCHED):
        if name == "planted":
            from tests.security.planted import PLANTED as parser  # noqa: N811
        else:
            from tests.security.parsers import every

            parser = every()[name]
        path = corpus.parent / parser.file
        (corpus / "good").write_bytes(parser.good)
        path.write_bytes(parser.good)
        parser.parse(path)  # what it imports only now is to be watched as well

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            parser.parse(path)
        except MemoryError:
            raise
        except parser.refusals:
            pass

    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def run(name: str, limit: str, keep: Path) -> tuple[str, bool]:
    """A row of the table, and whether all was well."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        options = [
            limit,
            f"-max_len={_MOST_BYTES}",
            f"-rss_limit_mb={_MEMORY_MB}",
            f"-timeout={_SLOWEST_S}",
            f"-artifact_prefix={keep}/{re.sub(r'[^a-z]+', '-', name.lower())}-",
            "-print_final_stats=1",
            "-seed=1",
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.fuzz", "--child", name, str(corpus), *options],
            env={**os.environ, "EDGEPACK_HOME": folder},
            capture_output=True,
            text=True,
            errors="replace",
        )
    seconds = time.monotonic() - began
    said = done.stdout + done.stderr
    inputs = re.search(r"number_of_executed_units: (\d+)", said)
    places = re.findall(r"cov: (\d+)", said)
    wrong = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*|^SUMMARY: .*", said, re.M)
    found = "nothing" if done.returncode == 0 else (wrong or [said[-300:]])[0]
    count = f"{int(inputs[1]):,}" if inputs else "?"
    row = f"| {name} | {count} | {seconds:.0f} | {places[-1] if places else '?'} | {found} |"
    return row, done.returncode == 0


def _all() -> Sequence[str]:
    from tests.security.parsers import NAMES

    return NAMES


def main() -> int:
    """Fuzz the parsers that the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    arguments.add_argument("--parser", action="append", help="only this one; may be repeated")
    arguments.add_argument("--seconds", type=int, default=60, help="for each parser")
    arguments.add_argument("--runs", type=int, help="inputs for each parser, instead of a time")
    asked = arguments.parse_args()
    limit = f"-runs={asked.runs}" if asked.runs else f"-max_total_time={asked.seconds}"
    keep = Path(tempfile.mkdtemp(prefix="edgepack-fuzz-"))
    print("| parser | inputs | seconds | places reached | found |\n| --- | --- | --- | --- | --- |")
    well = True
    for name in asked.parser or _all():
        row, passed = run(name, limit, keep)
        print(row, flush=True)
        well = well and passed
    if not well:
        print(f"\nthe inputs: {keep}")
    return 0 if well else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    sys.exit(main())
