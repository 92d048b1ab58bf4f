"""The page of a search in real Chromium: offline, no errors, keyboard, both themes."""

from __future__ import annotations

import pytest

from edgepack.searching import history
from tests import builders_search
from tests.ui.chromium import requests, serious
from tests.ui.test_html import Outline, column, opened, visible
from tests.unit.test_terminal import HOSTILE

MET = {"quality_drop": 0.02, "latency_p50_ms": 2.0}


def test_the_page_is_self_contained_and_hostile_names_add_no_elements() -> None:
    for name in (HOSTILE, "</title></script><img src=x onerror=alert(1)>", "'\"><svg onload=x>"):
        study = builders_search.study(MET, name=name, model=name, lost={name: name})
        text = history.page(study)
        outline = Outline(text)
        assert outline.tags.count("script") == 1 and "img" not in outline.tags
        assert not [key for key, _ in outline.attributes if key.startswith("on") or key == "style"]
        links = [value for key, value in outline.attributes if key in ("src", "href")]
        assert all(value and value.startswith(("#", "data:")) for value in links)
        assert len(text) < 1_000_000


def test_it_opens_without_errors_or_requests(browser, tmp_path) -> None:
    file = opened(browser, tmp_path, history.page(builders_search.study(MET)))
    assert browser.get_log("browser") == []
    assert requests(browser) == [file.as_uri()]
    assert len(browser.find_elements("css selector", "svg.chart")) == 4
    marks = browser.find_elements("css selector", "section:nth-of-type(1) figure .mark")
    assert len(marks) >= 40


def test_trials_are_sorted_and_filtered_by_keyboard(browser, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, tmp_path, history.page(builders_search.study(MET)))
    button = browser.find_element("css selector", ".comparison thead th:first-child button")
    button.send_keys(Keys.ENTER)
    first = column(browser, 0)[0]
    assert first.startswith("t000")
    browser.find_element("id", "filter").send_keys("long int8 60%")
    assert len(set(visible(browser))) == 1
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_finding(browser, tmp_path, scheme) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    never = {"quality_drop": 0.02, "bytes": 100.0}
    for study in (builders_search.study(MET), builders_search.study(never, concluded=True)):
        opened(browser, tmp_path, history.page(study))
        assert serious(browser) == []


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser, tmp_path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, tmp_path, history.page(builders_search.study(MET)))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
