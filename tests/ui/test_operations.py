"""Time by operation and confusions in the HTML report."""

from __future__ import annotations

import dataclasses
import re

import pytest

from edgepack.model import Accelerator, Confusion, OpTime, Quality, Run
from tests import builders
from tests.ui.chromium import serious
from tests.ui.test_html import Outline, opened, page

OPS = (
    OpTime(name="QUANTIZE", index=0, partition=None, ns=2_000, share=0.02),
    OpTime(name="Convolution (NHWC, QC8)", index=0, partition=0, ns=80_000, share=0.8, type="int8"),
    OpTime(name="Fully Connected (F32)", index=1, partition=0, ns=18_000, share=0.18,
           type="float32"),
)  # fmt: skip


def run_of(**fields: object) -> Run:
    return builders.run(["float", "int8"], ["local"], replace={
        ("local", "int8"): builders.measurement("int8", **fields),
    })  # fmt: skip


def test_the_slowest_operation_comes_first_with_its_share() -> None:
    text = page(run_of(ops=OPS))
    assert "98.0% of the time in XNNPACK; int8 80.0%, float32 18.0%, format not told 2.0%" in text
    names = re.findall(r'<th scope="row">([^<]+)</th><td class="left">([^<]+)</td>', text)
    assert names == [
        ("Convolution (NHWC, QC8)", "XNNPACK 0"),
        ("Fully Connected (F32)", "XNNPACK 0"),
        ("QUANTIZE", "own kernel"),
    ]
    widths = [float(w) for w in re.findall(r'class="share"[^>]*><rect[^>]* width="([\d.]+)"', text)]
    assert widths == [96.0, 21.6, 2.4]


def test_many_operations_are_summed() -> None:
    many = tuple(
        OpTime(name=f"op{n}", index=n, partition=0, ns=1000 - n, share=0.01) for n in range(40)
    )
    text = page(run_of(ops=many))
    assert "25 more operations" in text and ">op14<" in text and ">op15<" not in text
    assert "1 more operation<" in page(run_of(ops=many[:16]))


@pytest.mark.parametrize(
    ("xnnpack", "said"),
    [(True, "98.0% of the time in delegates (XNNPACK&#39;s included); int8"),
     (False, "98.0% of the time in delegates; int8")],
)  # fmt: skip
def test_beside_a_delegate_the_page_does_not_say_whose_a_partition_is(xnnpack, said) -> None:
    used = Accelerator(requested="delegate:/d.so", actual="delegate:/d.so", xnnpack=xnnpack)
    text = page(run_of(ops=OPS, accelerator=used))
    assert said in text
    assert '<td class="left">delegate 0</td>' in text and "XNNPACK 0" not in text


def test_batches_are_told_on_the_page() -> None:
    batched = {
        ("local", name): builders.measurement(name, batch=16, ops=OPS) for name in ("float", "int8")
    }
    text = page(builders.run(["float", "int8"], ["local"], replace=batched))
    assert "ai-edge-litert 2.3.0, cpu, 1 thread, batches of 16<" in text
    assert "latency of batches of 16" in text and "Distribution of batches of 16;" in text
    assert "of a single sample, not of a batch; 98.0% of the time" in text
    assert "single inferences" not in text
    assert "latency of single inferences" in page(run_of())


def test_a_hostile_name_or_share_adds_no_element() -> None:
    bad = OpTime(name="<img src=x>", index=0, partition=None, ns=1, share=9.0, type="<b>")
    outline = Outline(page(run_of(ops=(bad,))))
    assert "img" not in outline.tags and "b" not in outline.tags
    assert ("width", "120") in outline.attributes, "a bar is never wider than its place"


def judged(*cells: tuple[int, int, int]) -> Quality:
    return Quality(metric="top1", value=0.9, n=100, confusion=Confusion(classes=3, cells=cells))


def test_confusions_that_changed_are_named() -> None:
    before, after = (
        judged((0, 0, 90), (0, 1, 8), (2, 1, 2)),
        judged((0, 0, 87), (0, 1, 11), (2, 1, 2)),
    )
    run = builders.run(["float", "int8"], ["local"], replace={
        ("local", "float"): builders.measurement("float", quality=before),
        ("local", "int8"): builders.measurement("int8", quality=after),
    })  # fmt: skip
    row = '<td class="left">{}</td><td class="left">{}</td><td>8</td><td>11</td>'
    text = page(run)
    assert row.format(0, 1) in text and '<td class="left">2</td>' not in text
    # The names that the dataset gives, as far as it does; they may be anything.
    assert run.package.data is not None
    data = dataclasses.replace(run.package.data, classes=("T-shirt/top",))
    named = dataclasses.replace(run, package=dataclasses.replace(run.package, data=data))
    assert row.format("0 T-shirt/top", 1) in page(named)
    data = dataclasses.replace(data, classes=("<img src=x>\x1b[2J" + "x" * 100, "Dress"))
    named = dataclasses.replace(run, package=dataclasses.replace(run.package, data=data))
    text = page(named)
    assert "1 Dress" in text and "\x1b" not in text and "x" * 50 not in text
    assert "img" not in Outline(text).tags


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opened_it_has_no_error_and_no_serious_finding(browser, tmp_path, scheme) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(browser, tmp_path, page(run_of(ops=OPS, quality=judged((0, 1, 8)))))
    browser.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = 1))")
    assert browser.get_log("browser") == []
    assert serious(browser) == []
    bars = browser.find_elements("css selector", "svg.share rect")
    assert len(bars) == 3 and bars[0].size["width"] > bars[1].size["width"] > 0
