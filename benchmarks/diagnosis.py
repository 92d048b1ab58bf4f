"""How often the diagnosis names the planted cause, and how often it names one on healthy nets.

    python -m benchmarks.diagnosis [--seeds N]

Exits 1 below the bar: of each planted cause 95% named first, and none on a healthy net.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict

from benchmarks.planted_faults import HEALTHY, cases
from edgepack.compress.diagnose import diagnose

BAR = 0.95


def main() -> int:
    """Print one line a miss, one a cause, and the two rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="how many of each kind of case")
    results: dict[str, list[bool]] = defaultdict(list)
    for case in cases(range(parser.parse_args().seeds)):
        found = diagnose(case.float_model, case.quantized, case.inputs)
        named = found[0].cause if found else HEALTHY
        results[case.cause].append(named == case.cause)
        if named != case.cause:
            print(f"miss  {case.name}: {[f'{f.cause} at {f.layer}: {f.text}' for f in found]}")
    for cause, hits in sorted(results.items()):
        print(f"{cause:22s} {sum(hits):3d} of {len(hits)}")
    planted = [hit for cause, hits in results.items() if cause != HEALTHY for hit in hits]
    rate = sum(planted) / len(planted)
    print(f"named {rate:.1%} of {len(planted)} planted faults")
    worst = min(sum(hits) / len(hits) for hits in results.values())
    return 0 if worst >= BAR and all(results[HEALTHY]) else 1


if __name__ == "__main__":
    sys.exit(main())
