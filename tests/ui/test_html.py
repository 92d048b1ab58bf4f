"""The HTML report in real Chromium: offline, no errors, keyboard, both themes, no injection."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgepack.analysis import gate
from edgepack.analysis.compare import compare
from edgepack.model import Accelerator, Budget, Run
from edgepack.report import html, timeline
from tests import builders, documents
from tests.ui.chromium import events, requests, serious
from tests.unit.test_terminal import HOSTILE, hostile_run


def page(run: Run, limits: dict[str, float] | None = None) -> str:
    comparison = compare(run)
    budgets = (Budget(selector="*", limits=limits),) if limits else ()
    return html.render(run, comparison, gate.judge(run, comparison, budgets, {}))


class Outline(HTMLParser):
    """Elements and attributes of a page, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_page_is_self_contained_and_small() -> None:
    text = page(builders.run(), {"bytes": 1})
    assert len(text) < 1_000_000
    outline = Outline(text)
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in outline.attributes if name in ("src", "href", "srcset")]
    assert all(value and value.startswith(("#", "data:")) for value in links)
    assert outline.tags.count("script") == 1 and "link" not in outline.tags
    assert "url(" not in text and "@import" not in text


def test_the_raw_data_is_all_there() -> None:
    run = builders.run()
    document, samples = re.findall(r'href="data:[a-z/]+;base64,([^"]+)"', page(run))
    documents.check(json.loads(base64.b64decode(document)))
    raw = documents.check(json.loads(gzip.decompress(base64.b64decode(samples))))
    assert [m["rounds_ns"] for m in raw["measurements"]] == [
        [list(values) for values in m.rounds] for m in run.measurements
    ]


def test_too_many_samples_stay_in_the_store_and_the_page_says_so() -> None:
    many = builders.measurement("int8", rounds=builders.rounds(60, count=100, batch=5000))
    text = page(builders.run(["int8"], ["local"], replace={("local", "int8"): many}))
    assert "500,000 raw samples are too many" in text and len(text) < 1_000_000


def test_a_page_of_nothing() -> None:
    assert "No variant can be recommended" in page(builders.run(measurements=()))


def test_hostile_names_add_no_elements() -> None:
    for name in (HOSTILE, "</title></script><img src=x onerror=alert(1)>", "'\"><svg onload=x>"):
        outline = Outline(page(hostile_run(name), {"bytes": 1}))
        assert outline.tags.count("script") == 1
        assert "img" not in outline.tags
        assert not [key for key, _ in outline.attributes if key.startswith("on")]


def rich_run() -> Run:
    """Six variants on four devices, with time lines, operations and paired decisions."""
    names = ["float", "dynamic", "int8", "prune50-int8", "fp16", "slim50-int8"]
    wider = {
        **builders.SHAPES,
        "fp16": (("quantize.fp16",), 190_000, 170.0, 0.913),
        "slim50-int8": (("prune.structured", "quantize.int8"), 40_000, 30.0, 0.905),
    }
    ran = Accelerator(
        ops_total=16, ops_delegated=13, ops_left=("CAST", "TILE", "WHERE"), types={"int8": 16}
    )
    made = []
    for device in ("local", "pi4", "pi5", "pi-zero"):
        for name in names:
            _, _, us, accuracy = wider[name]
            rounds = builders.rounds(
                us * builders.SLOWNESS.get(device, 5.0),
                seed=builders.hash_of(device, name),
                count=60,
                batch=50,
            )
            environment = {"governor": "performance", "timeline": builders.timeline()}
            made.append(
                builders.measurement(
                    name,
                    device,
                    rounds=rounds,
                    quality=builders.top1(accuracy),
                    environment=environment,
                    accelerator=ran,
                )
            )
    variants = [builders.variant(name, wider[name][1], wider[name][0]) for name in names]
    return builders.run(measurements=tuple(made), package=builders.package(variants))


def test_six_variants_on_four_devices_stay_below_the_limit() -> None:
    text = page(rich_run(), {"latency_p90_ms": 5.0})
    assert len(text.encode()) < 1_500_000
    assert text.count('class="chart"') == 12


def test_the_time_line_shows_what_disturbed_the_run() -> None:
    text = page(rich_run())
    assert "temperature (°C)" in text and "power (W)" in text
    assert text.count('class="disturbed"') == 4 and "throttled, 12.0 to 16.0 s" in text


def test_kinds_of_disturbances_neither_overlap_nor_leave_the_picture() -> None:
    spans = ((1.0, 1.1), (1.1, 1.2), (29.0, 30.0))
    told = [{"kind": "level-shift", "from_s": low, "to_s": high} for low, high in spans]
    one = builders.measurement(
        "int8", environment={"timeline": builders.timeline(disturbances=told)}
    )
    text = page(builders.run(["int8"], ["local"], replace={("local", "int8"): one}))
    assert text.count('class="disturbed"') == 3
    found = [float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*class="disturbance"', text)]
    wide = timeline.LETTER * len("level-shift")
    assert len(found) == 2 and found[0] + wide < found[1] <= timeline.WIDTH - wide


@pytest.mark.parametrize(
    "found",
    [
        "no table",
        {},
        {"columns": ["t_s"], "rows": [[0]]},
        {"columns": ["temperature_c"], "rows": [[1], [2]]},
        builders.timeline(rows="x"),
        builders.timeline(rows=[[None], 3, "ab", [float("nan"), -5, 1e300]]),
        builders.timeline(columns=7),
        builders.timeline(disturbances=[{"kind": "<b>", "from_s": -1, "to_s": "x"}, 4], rows=[]),
    ],
)
def test_a_time_line_of_another_shape_is_left_out(found) -> None:
    one = builders.measurement("int8", environment={"timeline": found})
    text = page(builders.run(["int8"], ["local"], replace={("local", "int8"): one}))
    assert "time line of the run" not in text and "int8" in text


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_stolen_time_is_drawn_where_there_is_any(share: float) -> None:
    found = builders.timeline(columns=["t_s", "steal"], rows=[[t, share] for t in range(9)])
    one = builders.measurement(
        "int8", environment={"timeline": found}, flags=("steal",) * (share > 0)
    )
    text = page(builders.run(["int8"], ["local"], replace={("local", "int8"): one}))
    assert ("stolen by the hypervisor (share)" in text) == (share > 0)
    assert ("the hypervisor took 30% of the processor time" in text) == (share > 0)


def test_decisions_that_changed_are_counted() -> None:
    base, other = builders.top1(0.91), builders.top1(0.85)
    first, second = int(base.correct, 16), int(other.correct, 16)
    run = builders.run(["float", "int8"], ["local"], replace={
        ("local", "float"): builders.measurement("float", quality=base),
        ("local", "int8"): builders.measurement("int8", quality=other),
    })  # fmt: skip
    lost = (first & ~second).bit_count()
    assert lost > 100
    assert f'<th scope="row">int8</th><td>{lost}</td>' in page(run)


# ---------------------------------------------------------------- in a browser


def opened(browser, tmp_path: Path, text: str):
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    browser.get_log("performance")
    browser.get(file.as_uri())
    return file


def test_it_opens_without_errors_or_requests(browser, tmp_path) -> None:
    file = opened(browser, tmp_path, page(builders.run(), {"latency_p90_ms": 0.5}))
    assert browser.get_log("browser") == []
    assert requests(browser) == [file.as_uri()]
    assert "Not ready to ship" in browser.find_element("css selector", ".headline").text
    assert len(browser.find_elements("css selector", "svg.chart")) == 4


def test_a_hostile_report_runs_nothing(browser, tmp_path) -> None:
    text = page(hostile_run("</script><script>document.title='owned'</script><img src=//x/y>"))
    file = opened(browser, tmp_path, text)
    assert "owned" not in browser.title
    assert browser.get_log("browser") == []
    assert requests(browser) == [file.as_uri()]


def test_the_policy_refuses_what_would_slip_through(browser, tmp_path) -> None:
    text = page(builders.run()).replace(
        "</main>", "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x'></main>"
    )
    opened(browser, tmp_path, text)
    assert "owned" not in browser.title
    assert len(browser.get_log("browser")) == 2, "one refusal each"
    blocked = events(browser, "Network.loadingFailed")
    assert [found["blockedReason"] for found in blocked] == ["csp"]


def column(browser, number: int) -> list[str]:
    rows = browser.find_elements("css selector", "#device-1 ~ .scroll .comparison tbody tr")
    return [row.find_elements("css selector", "th, td")[number].text for row in rows]


def test_the_table_sorts_by_keyboard(browser, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    run = builders.run(replace={("local", "dynamic"): builders.failed("dynamic", "local")})
    opened(browser, tmp_path, page(run))
    heading = browser.find_element("css selector", ".comparison thead th:nth-child(3)")
    button = heading.find_element("css selector", "button")
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(browser, 0) == ["int8 ★", "prune50-int8", "float", "dynamic"]
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(browser, 0) == ["float", "prune50-int8", "int8 ★", "dynamic"], "missing is last"
    browser.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert column(browser, 1) == ["103 kB", "104 kB", "104 kB", "381 kB"]
    assert heading.get_attribute("aria-sort") is None


def visible(browser) -> list[str]:
    rows = browser.find_elements("css selector", ".comparison tbody tr")
    return [row.find_element("css selector", "th").text for row in rows if row.is_displayed()]


def test_rows_are_filtered_by_words_and_by_the_front(browser, tmp_path) -> None:
    opened(browser, tmp_path, page(builders.run(devices=["local"])))
    assert len(visible(browser)) == 4
    field = browser.find_element("id", "filter")
    field.send_keys("PRUNE50 lower")
    assert visible(browser) == ["prune50-int8"]
    assert browser.find_element("id", "shown").text == "1 of 4 rows"
    field.send_keys("\n")
    assert visible(browser) == ["prune50-int8"], "Enter sends nothing"
    field.clear()
    browser.find_element("id", "front").click()
    assert visible(browser) == ["dynamic", "int8 ★"]
    browser.find_element("id", "front").send_keys(" ")
    assert len(visible(browser)) == 4
    assert browser.find_element("id", "shown").text == ""
    assert browser.get_log("browser") == []


def test_every_disclosure_opens_by_keyboard(browser, tmp_path) -> None:
    opened(browser, tmp_path, page(rich_run(), {"latency_p90_ms": 5.0}))
    summaries = browser.find_elements("css selector", "summary")
    assert len(summaries) >= 10
    for summary in summaries:
        summary.send_keys("\n")
    assert all(
        found.get_attribute("open") for found in browser.find_elements("css selector", "details")
    )
    for link in browser.find_elements("css selector", "nav a"):
        link.send_keys("\n")
        assert browser.current_url.endswith(link.get_attribute("href").rpartition("#")[2])
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_finding(browser, tmp_path, scheme) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    lost = {("pi4", "dynamic"): builders.failed("dynamic")}
    for run in (rich_run(), builders.run(replace=lost)):
        opened(browser, tmp_path, page(run, {"latency_p90_ms": 0.5}))
        browser.execute_script("document.querySelectorAll('details').forEach((d) => (d.open = 1))")
        assert serious(browser) == []


LUMINANCE = """
const text = getComputedStyle(arguments[0]).color;
const page = getComputedStyle(document.body).backgroundColor;
const light = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const [a, b] = [light(text), light(page)].sort((x, y) => y - x);
return (a + 0.05) / (b + 0.05);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(browser, tmp_path, scheme) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(browser, tmp_path, page(builders.run(), {"latency_p90_ms": 0.5}))
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(18, 21, 26)") == (scheme == "dark")
    for selector in (
        ".headline",
        ".soft",
        "nav a",
        ".chart text",
        ".badge.fail",
        "td",
        "figcaption",
    ):
        element = browser.find_element("css selector", selector)
        assert browser.execute_script(LUMINANCE, element) >= 4.5, selector


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser, tmp_path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, tmp_path, page(builders.run(), {"latency_p90_ms": 0.5}))
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


PRINTED = """
const shown = (selector) => document.querySelector(selector).checkVisibility(
  {contentVisibilityAuto: true, opacityProperty: true, visibilityProperty: true});
const color = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
return {
  page: color("--page"), text: color("--text"),
  nav: shown("nav"), filter: shown(".filter"), button: shown(".button"),
  closed: Array.from(document.querySelectorAll("details:not([open])"))
    .filter((d) => d.lastElementChild.getBoundingClientRect().height > 0).length,
};
"""


def test_on_paper_everything_is_there_in_dark_on_light(browser, tmp_path) -> None:
    opened(browser, tmp_path, page(rich_run(), {"latency_p90_ms": 5.0}))
    details = len(browser.find_elements("css selector", "details"))
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        found = browser.execute_script(PRINTED)
        sheets = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert (found["page"], found["text"]) == ("#ffffff", "#000000")
    assert not (found["nav"] or found["filter"] or found["button"])
    assert found["closed"] == details >= 10, "what is folded on a screen is printed"
    paper = base64.b64decode(sheets)
    assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") < 40
