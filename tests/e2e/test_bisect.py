"""`run --bisect`: where a device begins to compute something else than the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgepack import bisect
from edgepack.compress.exposing import Exposable, exposable, exposed

MODEL = Path(__file__).parent.parent / "data" / "convolution_small.tflite"


def measured(home: Path, *options: str) -> dict:
    command = [sys.executable, "-m", "edgepack.cli.main", "run", str(MODEL), "--bisect", "--json"]
    done = subprocess.run(
        [*command, "-q", "--max-seconds", "0.5", *options],
        env={**os.environ, "EDGEPACK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["measurements"][0]


def test_the_operation_at_which_a_wrong_delegate_begins(tmp_path: Path, delegate: Path) -> None:
    last = len(exposable(MODEL.read_bytes())) - 1
    broken = (f"--accelerator=delegate:{delegate}", "--delegate-option=ops=2", "--no-xnnpack")
    found = measured(tmp_path, *broken)
    assert "outputs-differ" in found["flags"]
    assert found["parity"]["top1_flips"] is not None
    assert found["divergence"]["op"] == last - 1, "the delegate computes the last two"
    assert found["divergence"]["kind"] == "FULLY_CONNECTED"
    assert found["divergence"]["beyond_rounding"]


def test_nothing_to_find_where_nothing_differs(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert (found["parity"]["max_abs_diff"], found["divergence"]) == (0, None)


def test_intermediate_results_become_outputs() -> None:
    listed = exposable(MODEL.read_bytes())
    model = exposed(MODEL.read_bytes(), [each.tensor for each in listed])
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    image = np.random.default_rng(0).random((1, 12, 12, 8), dtype=np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    first, *_, last = [
        interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()
    ]
    assert first.shape == (1, 12, 12, 8) and first.any()
    assert last.shape == (1, 4) and last.sum() == pytest.approx(1)


def result(op: int, size: int = 100, scale: float = 0.0) -> Exposable:
    return Exposable(
        op=op, kind="ADD", tensor=op, name=f"t{op}", bytes=size, scale=scale, zero_point=3
    )


def test_steps_of_a_quantized_result() -> None:
    stored = np.array([3, 4, 9], np.int8)
    ours = (stored.astype(np.float32) - 3) * np.float32(0.1)
    assert bisect.difference(result(0, scale=0.1), ours, stored) is None
    one = bisect.difference(result(0, scale=0.1), ours, stored + np.int8(1))
    assert one is not None and (one.max_steps, one.beyond_rounding) == (1, False)
    two = bisect.difference(result(0, scale=0.1), ours, stored + np.int8(2))
    assert two is not None and (two.max_steps, two.beyond_rounding) == (2, True)


def test_float_results_may_round_differently() -> None:
    ours = np.array([1.0, 2.0], np.float32)
    near = bisect.difference(result(0), ours, ours * np.float32(1 + 1e-6))
    assert near is not None and not near.beyond_rounding
    far = bisect.difference(result(0), ours, ours * np.float32(1.01))
    assert far is not None and far.beyond_rounding and far.max_steps is None
    broken = bisect.difference(result(0), ours, ours * np.float32(np.nan))
    assert broken is not None and broken.beyond_rounding


def test_a_long_stretch_is_spread_over_what_one_session_may_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bisect, "PASS_BYTES", 400)
    stretch = [result(op) for op in range(10)]
    chosen = [each.op for each in bisect._spread(stretch)]
    assert chosen == [0, 3, 6, 9]
    assert [each.op for each in bisect._spread([result(5, size=1000)])] == [5]
