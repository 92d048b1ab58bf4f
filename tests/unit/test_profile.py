"""Times of operations: their shares, their number formats, and how a terminal shows them."""

from __future__ import annotations

import pytest

from edgepack.fleet.profile import op_times
from edgepack.model import Accelerator
from edgepack.transport import results
from tests import builders
from tests.unit.test_terminal import shown

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


def profiled(**fields: object) -> list[str]:
    """The lines of a terminal, for a run of int8 with these fields and the profile."""
    measured = builders.measurement("int8", **{"ops": op_times(PROFILE)} | fields)
    run = builders.run(["float", "int8"], ["local"], replace={("local", "int8"): measured})
    return [" ".join(line.split()) for line in shown(run).splitlines()]


def test_the_terminal_names_what_is_not_accelerated() -> None:
    used = Accelerator(ops_total=3, ops_delegated=2, ops_left=("SOFTMAX",), types={"int8": 3})
    lines = profiled(accelerator=used)
    assert "int8: 3 operations, 80 µs; the file's compute in 3 int8" in lines
    assert "not accelerated: SOFTMAX" in lines
    assert "Convolution (NHWC, QC8) IGEMM 60.0 75.0% XNNPACK 0" in lines
    assert "SOFTMAX 20.0 25.0% own kernel" in lines


def test_beside_a_delegate_no_partition_is_called_xnnpacks() -> None:
    lines = profiled(accelerator=Accelerator(requested="delegate:/d.so", actual="delegate:/d.so"))
    assert "Convolution (NHWC, QC8) IGEMM 60.0 75.0% delegate 0" in lines
    assert "SOFTMAX 20.0 25.0% own kernel" in lines
    assert "XNNPACK" not in " ".join(lines)
    fallen_back = profiled(accelerator=Accelerator(requested="delegate:/d.so", actual="cpu"))
    assert "Convolution (NHWC, QC8) IGEMM 60.0 75.0% XNNPACK 0" in fallen_back


def test_times_of_operations_beside_batches_are_told_to_be_of_one_sample() -> None:
    said = " ".join(profiled(batch=16))
    assert "int8: of a single sample, not of a batch; 3 operations, 80 µs" in said
    said = " ".join(profiled(batch=16, flags=("ops-estimated",)))
    assert "not of a batch; estimated from the graph cut off after each operation; 3 op" in said
    assert "single sample" not in " ".join(profiled())


def test_one_operation_is_singular() -> None:
    assert "int8: 1 operation, 60 µs" in profiled(ops=op_times(PROFILE)[:1])
