"""What is recommended, what is not, and why."""

from __future__ import annotations

import itertools

import pytest

from edgepack.analysis.compare import compare
from edgepack.errors import EdgepackError
from edgepack.model import (
    Accelerator,
    Agreement,
    Measurement,
    OpTime,
    Quality,
    Run,
    RuntimeSpec,
    Status,
)
from tests import builders


def run_of(*measurements: Measurement, sizes: dict[str, int] | None = None) -> Run:
    names = dict.fromkeys(m.variant for m in measurements)
    variants = [builders.variant(name, (sizes or {}).get(name)) for name in names]
    return builders.run(
        measurements=measurements, package=builders.package(variants), variants=(), devices=()
    )


def timed(name: str, us: float, accuracy: float = 0.91, **fields) -> Measurement:
    made = {
        "rounds": builders.rounds(us, seed=builders.hash_of(name)),
        "quality": builders.top1(accuracy),
    }
    return builders.measurement(name, **made | fields)


def row_of(comparison, name: str, device: str = "local"):
    return next(r for r in comparison.rows if (r.variant, r.device) == (name, device))


def test_a_usual_run() -> None:
    found = compare(builders.run())
    assert found.recommended == {"local": "int8", "pi4": "int8"}
    assert "faster than float" in found.reasons["local"]
    int8 = row_of(found, "int8")
    assert int8.speedup == pytest.approx(168 / 61, rel=0.03)
    assert int8.speedup_ci95[0] < 168 / 61 < int8.speedup_ci95[1] * 1.02
    assert int8.significant and int8.reason == ""
    assert int8.size_ratio == pytest.approx(104_352 / 381_204)
    assert "lower quality" in row_of(found, "prune50-int8").reason
    assert "slower than int8" in row_of(found, "float").reason
    assert found.pareto["local"] == ("dynamic", "int8")


def test_a_single_round_recommends_none_of_several() -> None:
    """It took the smallest one: without an interval nothing was slower than anything."""
    float_, int8 = (
        timed(name, us, rounds=builders.rounds(us, count=1))
        for name, us in (("float", 100), ("int8", 300))
    )
    found = compare(run_of(float_, int8))
    assert found.recommended == {}
    assert "single round" in found.reasons["local"]
    assert compare(run_of(float_)).recommended == {"local": "float"}


def test_int8_that_is_slower_than_float_is_not_recommended() -> None:
    found = compare(run_of(timed("float", 189), timed("int8", 462)))
    assert found.recommended == {"local": "float"}
    assert "slower than float" in row_of(found, "int8").reason
    assert found.reasons["local"] == "no other variant is better"


def test_ops_that_fell_back_are_named_as_the_cause() -> None:
    ran = Accelerator(ops_total=16, ops_delegated=11)
    found = compare(run_of(timed("float", 189), timed("int8", 462, accelerator=ran)))
    assert "5 of 16 ops fell back" in row_of(found, "int8").reason


@pytest.mark.parametrize(("outside", "cause"), [(0.01, "IGEMM alone takes 31%"), (0.5, "5 of 16")])
def test_a_profile_says_the_cause_better(outside: float, cause: str) -> None:
    """An operation outside XNNPACK is the cause only where it takes the time."""
    ops = (
        OpTime(name="IGEMM", index=0, partition=0, ns=127_000, share=0.31),
        OpTime(name="SOFTMAX", index=1, partition=None, ns=1000, share=outside),
    )
    ran = Accelerator(ops_total=16, ops_delegated=11)
    slow = timed("int8", 414, accelerator=ran, ops=ops)
    assert cause in row_of(compare(run_of(timed("float", 342), slow)), "int8").reason


def test_a_device_that_computes_something_else_is_not_shipped_to() -> None:
    odd = timed("int8", 61, flags=("outputs-differ",))
    found = compare(run_of(timed("float", 189), odd))
    assert found.recommended == {"local": "float"}
    assert "not those of the same file on the host" in row_of(found, "int8").reason


def test_a_variant_slower_than_the_one_it_derives_from_is_told_so() -> None:
    found = compare(
        run_of(timed("float", 200), timed("int8", 60), timed("prune50-int8", 80), timed("fp16", 40))
    )
    assert found.recommended == {"local": "fp16"}
    assert "1.33× slower than int8" in row_of(found, "prune50-int8").reason
    assert "slower than fp16" in row_of(found, "int8").reason


def test_a_parent_that_is_unfit_is_no_alternative() -> None:
    found = compare(
        run_of(timed("float", 200), timed("int8", 60, accuracy=0.5), timed("prune50-int8", 80))
    )
    assert found.recommended == {"local": "prune50-int8"}


def test_a_bigger_variant_is_not_recommended_however_fast() -> None:
    sizes = {"float": 100_000, "int8": 130_000}
    found = compare(run_of(timed("float", 200), timed("int8", 60), sizes=sizes))
    assert found.recommended == {"local": "float"}
    assert row_of(found, "int8").reason == "bigger: 130% of float's size"


def test_equal_speed_is_said_in_words_and_the_smaller_wins() -> None:
    found = compare(run_of(timed("float", 100), timed("dynamic", 100.1)))
    assert found.recommended == {"local": "dynamic"}
    assert "not significantly faster or slower than float" in found.reasons["local"]
    assert row_of(found, "dynamic").significant is False
    assert row_of(found, "float").reason == "no faster than dynamic, and bigger"


def test_a_loss_of_quality_counts_when_significant_and_above_one_point() -> None:
    for accuracy, samples, recommended in (
        (0.905, 2000, "int8"),  # half a point
        (0.85, 2000, "float"),  # six points, certain
        (0.87, 40, "int8"),  # a few points of forty samples: may be chance
    ):
        base = timed("float", 200, quality=builders.top1(0.91, samples))
        other = timed("int8", 60, quality=builders.top1(accuracy, samples))
        found = compare(run_of(base, other))
        assert found.recommended == {"local": recommended}, (accuracy, samples)


def test_an_error_counts_as_worse_when_it_is_larger() -> None:
    def mae(value: float) -> Quality:
        return Quality(metric="mae", value=value, n=500, ci95=(value * 0.98, value * 1.02))

    found = compare(
        run_of(timed("float", 200, quality=mae(1.0)), timed("int8", 60, quality=mae(1.2)))
    )
    assert found.recommended == {"local": "float"}
    assert "MAE +0.2 against float" in row_of(found, "int8").reason
    better = compare(
        run_of(timed("float", 200, quality=mae(1.0)), timed("int8", 60, quality=mae(0.8)))
    )
    assert better.recommended == {"local": "int8"}


def test_an_error_gets_its_interval_from_the_rmse_and_an_untested_loss_counts() -> None:
    def mae(value: float, **extra: float) -> Quality:
        return Quality(metric="mae", value=value, n=500, extra=extra)

    near = run_of(
        timed("float", 200, quality=mae(1.0, rmse=1.4)),
        timed("int8", 60, quality=mae(1.05, rmse=1.5)),
    )
    assert compare(near).recommended == {"local": "int8"}
    far = run_of(
        timed("float", 200, quality=mae(1.0, rmse=1.4)),
        timed("int8", 60, quality=mae(1.4, rmse=2.0)),
    )
    assert compare(far).recommended == {"local": "float"}
    untested = run_of(timed("float", 200, quality=mae(1.0)), timed("int8", 60, quality=mae(1.4)))
    assert compare(untested).recommended == {"local": "float"}
    assert "not tested" in row_of(compare(untested), "int8").reason


def test_outputs_that_are_not_numbers_are_not_shipped() -> None:
    flags = ("non-finite-outputs",)
    found = compare(run_of(timed("float", 200), timed("int8", 60, quality=None, flags=flags)))
    assert found.recommended == {"local": "float"}
    assert "not numbers" in row_of(found, "int8").reason


def test_without_labels_the_agreement_with_the_source_stands_in() -> None:
    def agrees(share: float) -> dict:
        parity = Agreement(samples=500, top1_agreement=share, max_abs_diff=0.1, snr_db=20.0)
        return {"quality": None, "parity": parity}

    found = compare(run_of(timed("float", 200, **agrees(1.0)), timed("int8", 60, **agrees(0.7))))
    assert found.recommended == {"local": "float"}
    assert "agreement −30.00 points" in row_of(found, "int8").reason


def test_nothing_from_an_emulator_is_recommended() -> None:
    found = compare(
        run_of(timed("float", 200, flags=("emulated",)), timed("int8", 60, flags=("emulated",)))
    )
    assert found.recommended == {}
    assert found.reasons["local"] == "emulated: no recommendation"
    assert "emulator" in row_of(found, "int8").reason


def test_what_is_not_like_for_like_is_said() -> None:
    old = RuntimeSpec(name="tflite-runtime", version="2.14.0")
    found = compare(run_of(timed("float", 200), timed("int8", 300, runtime=old)))
    assert (
        "runtime tflite-runtime 2.14.0 instead of ai-edge-litert 2.3.0"
        in row_of(found, "int8").reason
    )


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_failed_variant_keeps_the_rest(status: Status) -> None:
    lost = builders.failed("int8", "local", status, "gone")
    found = compare(run_of(timed("float", 200), lost, timed("dynamic", 150)))
    assert found.recommended == {"local": "dynamic"}
    row = row_of(found, "int8")
    assert row.reason == f"{status}: gone"
    assert row.speedup is row.significant is row.quality_delta is None
    assert row.size_ratio is not None


def test_a_failed_baseline_leaves_a_recommendation_without_a_speedup() -> None:
    found = compare(run_of(builders.failed("float", "local"), timed("int8", 60)))
    assert found.recommended == {"local": "int8"}
    assert "no speed-up" in found.reasons["local"]
    assert row_of(found, "int8").speedup is None


def test_one_variant_and_no_float() -> None:
    found = compare(run_of(timed("int8", 60)))
    assert found.baseline == "int8"
    assert found.recommended == {"local": "int8"}
    assert found.reasons["local"] == "the only variant that was measured"


def test_one_round_is_not_significant() -> None:
    found = compare(
        run_of(timed("float", 200, rounds=((200_000,),)), timed("int8", 60, rounds=((60_000,),)))
    )
    row = row_of(found, "int8")
    assert row.speedup == pytest.approx(200 / 60)
    assert row.speedup_ci95 is None and row.significant is None


def test_an_unknown_baseline_is_refused_with_a_hint() -> None:
    with pytest.raises(EdgepackError, match="Did you mean 'int8'") as caught:
        compare(builders.run(), baseline="int9")
    assert caught.value.code == "EP105"


def test_missing_values_of_every_kind_never_crash() -> None:
    odd = [
        timed("float", 200),
        timed("float", 200, quality=None, parity=None),
        timed("float", 200, quality=Quality(metric="top1", value=float("nan"), n=0)),
        timed("float", 200, quality=Quality(metric="top1", value=0.9, n=100, correct="not hex")),
        timed("float", 200, quality=Quality(metric="mae", value=0.0, n=10)),
        timed("float", 200, rounds=()),
        timed("float", 200, rounds=((),)),
        timed("float", 200, runtime=None, environment={}, inputs_sha256=None),
        builders.failed("float", "local"),
        Measurement(variant="float", device="local", profile="p", status=Status.FAILED),
    ]
    import dataclasses

    for base, other in itertools.product(odd, odd):
        found = compare(run_of(base, dataclasses.replace(other, variant="int8")))
        assert len(found.rows) == 2
    assert compare(builders.run(measurements=())).rows == ()
