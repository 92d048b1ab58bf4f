"""Without labels finalists are judged by their agreement with the source, on as many as can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgepack import parity
from edgepack.compress.checking import Checked
from edgepack.model import EvalData, Signature, TensorSpec
from edgepack.searching import conclusion
from edgepack.searching.agreeing import agreeing, doubt
from edgepack.searching.gauge import Setting
from tests import builders
from tests.unit.test_search_finalists import tried

DATA = EvalData(sha256="0" * 64, bytes=1, samples=5000, task="none")
IMAGE = TensorSpec(name="x", shape=(None, 4), dtype="float32")


def package(data=DATA, classes=(None, 10), names=("float", "t001")):
    signature = Signature(
        inputs=(IMAGE,), outputs=(TensorSpec(name="y", shape=classes, dtype="float32"),)
    )
    variants = [replace(builders.variant(name), signature=signature) for name in names]
    return replace(builders.package(variants), data=data)


def test_up_to_a_thousand_samples_as_time_and_bytes_allow():
    group = [tried(1, 50.0, 0.0, {})]
    assert agreeing(package(), group) == 1000
    assert agreeing(package(replace(DATA, samples=300)), group) == 300
    # 100 ms of the source, and 100 ms of each of two finalists: 60 s are 200 samples.
    slow = [
        replace(tried(n, 1.0, 0.0, {}), latency_us={"d": 1e5}, speedup={"d": 1.0}) for n in (1, 2)
    ]  # fmt: skip
    assert agreeing(package(), slow) == 200
    assert agreeing(package(classes=(None, 512, 512)), group) == 64
    assert agreeing(package(classes=(None, None, 10)), group) == 0
    assert agreeing(package(replace(DATA, task="classification")), group) == 0


@pytest.mark.parametrize(("device_data", "asked"), [(None, 1000), ("/private.npz", 0)])
def test_the_last_run_asks_for_them_but_not_for_what_stays_on_a_device(
    monkeypatch, tmp_path, device_data, asked
):
    made = {}
    unlabelled = package()
    monkeypatch.setattr(conclusion, "built", lambda *_: (list(unlabelled.variants), {}))
    monkeypatch.setattr(conclusion, "fitted", lambda *_: None)
    monkeypatch.setattr(conclusion.packages, "write", lambda *_, **__: unlabelled)
    monkeypatch.setattr(conclusion.plan, "make", lambda **given: made.update(given))
    monkeypatch.setattr(
        conclusion.pipeline, "bench", lambda *_, **__: SimpleNamespace(interrupted=False)
    )
    monkeypatch.setattr(conclusion, "tools", dict)
    request = SimpleNamespace(
        data=None, device_data=device_data, max_seconds=1.0, seed=0, budgets=()
    )
    source = SimpleNamespace(path=Path("m.keras"), sha256="0")
    searching = SimpleNamespace(
        study=SimpleNamespace(request=request, name="s"),
        builder=SimpleNamespace(obtain=None, workshop=SimpleNamespace(source=source, given=None)),
    )
    group = [tried(1, 50.0, 0.0, {})]
    conclusion._measured(searching, group, [], Setting(), lambda event: None)
    assert made["settings"].output_samples == asked


def test_likeness_is_judged_on_all_that_came_back_and_parity_on_the_first(monkeypatch, tmp_path):
    ran = {}

    def run(file, inputs, scratch):
        ran[file.stem] = len(inputs["x"])
        return Checked(summary=None, outputs={"y": inputs["x"]})

    unlabelled = package()
    stored = np.eye(4, dtype=np.float32)[np.arange(1000) % 4]
    monkeypatch.setattr(parity.checking, "run", run)
    monkeypatch.setattr(parity.packages, "evaluation", lambda folder: {"x:x": stored})
    outputs = stored.copy()
    outputs[990:] = np.roll(outputs[990:], 1, axis=1)  # one in a hundred, beyond the first 64
    measured = [
        replace(builders.measurement(name, "d"), quality=None) for name in ("float", "t001")
    ]  # fmt: skip
    reference = parity.Reference(unlabelled, tmp_path, 64, 1000)
    _, checked = reference.with_parity(measured, {one.variant: {"y": outputs} for one in measured})
    assert (checked.quality.value, checked.quality.n) == (0.99, 1000)
    assert checked.parity.samples == 64
    assert sorted(ran.values()) == [64, 1000], "only the source is run on all of them here"


def test_how_sure_agreement_is_is_said():
    def run(quality):
        return SimpleNamespace(measurements=[SimpleNamespace(quality=quality)])

    agreed = SimpleNamespace(metric="agreement", n=256)
    [line] = doubt([run(agreed), run(None)])
    assert "on 256 samples: one of them is 0.39 points" in line
    assert list(doubt([run(SimpleNamespace(metric="top1", n=100))])) == []
