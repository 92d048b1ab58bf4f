"""What the agent and its workers take of a board's memory while they measure the demo model.

    python -m benchmarks.memory [--model FILE] [--variants N] [--python PYTHON --runtime NAME]

The resident set of each process, and its proportional part (what it shares with others counted
once in all), from /proc while the rounds run. Bar: all together leave a board of 512 MB, whose
system takes 150 MB, more than half of the rest.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.agent.host import DATA, Host, make_job

BAR_MB = (512 - 150) / 2


def main() -> int:
    """The table; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, default=DATA / "classifier_int8.tflite")
    parser.add_argument("--variants", type=int, default=1)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runtime", default="ai-edge-litert")
    args = parser.parse_args()
    models = {f"v{i}": args.model.read_bytes() for i in range(args.variants)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Host(Path(folder) / "home", python=args.python) as host,
    ):
        times = {"max_s": 4.0, "ci": 1e-6, "min_rounds": 10**5}
        job, blobs = make_job(models, runtimes=(args.runtime,), **times)
        host.send(job)
        host.push(blobs)
        host.until("samples")
        time.sleep(2.0)
        named = [("agent", host.process.pid)]
        named += [(f"worker {i}", pid) for i, pid in enumerate(host.workers())]
        rows = [(name, *_mb(pid)) for name, pid in named]
        host.rest()
        statuses = {result["status"] for result in host.results().values()}
    if statuses != {"ok"}:
        raise SystemExit(f"not measured: {statuses}")
    print("| process | resident MB | proportional MB |")
    print("| --- | --- | --- |")
    for name, resident, part in (*rows, ("all", *(sum(row[i] for row in rows) for i in (1, 2)))):
        print(f"| {name} | {resident:.1f} | {part:.1f} |")
    return int(sum(row[2] for row in rows) > BAR_MB)


def _mb(pid: int) -> tuple[float, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kb = [float(n) for n in re.findall(r"^(?:Rss|Pss):\s+(\d+)", text, re.M)]
    return kb[0] / 1024, kb[1] / 1024


if __name__ == "__main__":
    sys.exit(main())
