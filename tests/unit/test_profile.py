"""Times of operations: their shares, their number formats, and how a terminal shows them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgepack.analysis.compare import compare
from edgepack.fleet.profile import op_times
from edgepack.model import Accelerator, Verdict, VerdictStatus
from edgepack.report import terminal
from edgepack.transport import results
from tests import builders

PROFILE = results.Ops(
    event="ops",
    variant="int8",
    runs=10,
    total_ns=100_000,
    ops=(
        results.TimedOp(name="Convolution (NHWC, QC8) IGEMM", index=0, partition=0, ns=60_000),
        results.TimedOp(
            name="Fully Connected (NC, QD8, F32, QC4W) GEMM", index=1, partition=0, ns=0
        ),
        results.TimedOp(name="SOFTMAX", index=15, partition=None, ns=20_000),
    ),
)


def test_shares_and_formats() -> None:
    ops = op_times(PROFILE)
    assert [op.share for op in ops] == pytest.approx([0.75, 0.0, 0.25])
    assert [op.type for op in ops] == ["int8", "hybrid", None]


def test_the_terminal_names_what_is_not_accelerated() -> None:
    used = Accelerator(ops_total=3, ops_delegated=2, ops_left=("SOFTMAX",), types={"int8": 3})
    measured = builders.measurement("int8", accelerator=used, ops=op_times(PROFILE))
    run = builders.run(["float", "int8"], ["local"], replace={("local", "int8"): measured})
    out = io.StringIO()
    verdict = Verdict(status=VerdictStatus.NONE)
    terminal.render(run, compare(run), verdict, Console(file=out, width=80))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "int8: 3 operations, 80 µs; the file's compute in 3 int8" in lines
    assert "not accelerated: SOFTMAX" in lines
    assert "Convolution (NHWC, QC8) IGEMM 60.0 75.0% XNNPACK 0" in lines
    assert "SOFTMAX 20.0 25.0% plain kernel" in lines
