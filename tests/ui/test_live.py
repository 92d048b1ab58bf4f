"""The live page: for this machine and this token alone, and harmless whatever a device says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from edgepack.cli import progress
from edgepack.live import Board, LiveServer
from edgepack.live import server as serving
from edgepack.model import Event
from tests.ui.chromium import serious
from tests.unit.test_terminal import HOSTILE


@pytest.fixture
def board():
    return Board("edgepack run")


@pytest.fixture
def live(board):
    with LiveServer(board) as server:
        yield server
        board.end("over")


def asked(live: LiveServer, path: str | None = None, method: str = "GET", **headers: str):
    parts = urlsplit(live.url)
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    link.request(method, parts.path if path is None else path, headers=headers)
    return link.getresponse()


def test_only_the_token_opens_it(live) -> None:
    assert asked(live).status == 200
    token = urlsplit(live.url).path.strip("/")
    assert len(token) >= 22, "128 bits"
    for path in ("/", "/x/", f"/{token}", f"/{token[:-1]}/", f"/{token}x/", "/../", "/%00/"):
        assert asked(live, path).status == 404, path
    for name in ("nothing", "../server.py", "live.html", "events/../live.js"):
        assert asked(live, f"/{token}/{name}").status == 404, name


def test_another_host_name_is_turned_away(live) -> None:
    port = urlsplit(live.url).port
    for host in ("evil.example", f"localhost:{port}", "127.0.0.1", ""):
        assert asked(live, Host=host).status == 404, host
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert asked(live, method=method).status == 501


def test_it_listens_on_this_machine_alone(live) -> None:
    parts = urlsplit(live.url)
    assert parts.hostname == "127.0.0.1"
    own = socket.gethostbyname(socket.gethostname())
    if not own.startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((own, parts.port), timeout=2)


def test_every_answer_is_restricted(live) -> None:
    for answer in (asked(live), asked(live, "/nothing")):
        policy = answer.getheader("Content-Security-Policy")
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        assert answer.getheader("Referrer-Policy") == "no-referrer", "the token stays here"
        assert answer.getheader("Cache-Control") == "no-store"


def test_the_stream_tells_the_state_and_ends_with_the_run(board, live) -> None:
    board.tell(Event(kind="progress", stage="push", device="pi4", done=float("nan"), total=-1))
    board.tell(Event(kind="warning", stage="x", device="pi4", message="a\n\nevent: b\ndata: c"))
    board.end("The run has ended.")
    told = asked(live, urlsplit(live.url).path + "events").read().decode()
    assert told.count("\n") == 2 and told.startswith("data: {") and told.endswith("}\n\n")
    state = json.loads(told.removeprefix("data: "))
    assert state["ended"] == "The run has ended."
    assert state["devices"][0]["done"] is None and state["devices"][0]["total"] is None
    assert state["lines"][0]["message"] == "a event: b data: c"


def newest_round(device: str, variant: str, rounds: int, median_us: float | None) -> Event:
    told = {"device": device, "variant": variant, "done": rounds, "value": median_us}
    return Event(kind="samples", stage="measure", **told)


def test_samples_are_kept_few_and_only_if_they_are_numbers(board) -> None:
    for number in range(100):
        for value in (1000.0 + number, float("nan"), -5.0, None):
            event = Event(
                kind="samples", stage="m", device="d", variant="v", done=number, value=value
            )
            board.tell(event)
    (device,) = board.state()["devices"]
    assert device["samples"]["v"]["rounds"] == 99
    assert device["samples"]["v"]["us"] == [1000.0 + number for number in range(76, 100)]


def test_too_many_pages_are_turned_away(board, live, monkeypatch) -> None:
    monkeypatch.setattr(serving, "MOST_STREAMS", 2)
    path = urlsplit(live.url).path + "events"
    open_ones = [asked(live, path) for _ in range(2)]
    assert asked(live, path).status == 503
    board.end("over")
    for answer in open_ones:
        answer.read()


def test_a_run_told_from_many_threads_loses_nothing(board) -> None:
    def tell(number: int) -> None:
        for step in range(50):
            event = Event(kind="measured", stage="m", device=f"d{number}", variant=f"v{step}")
            board.tell(event)

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(device["measured"]) for device in board.state()["devices"]] == [50] * 8


def test_the_command_line_says_where_and_passes_events_on(capsys) -> None:
    seen = []
    with progress.page("edgepack run", seen.append, wanted=True) as emit:
        url = capsys.readouterr().err.strip().removeprefix("watch: ")
        emit(Event(kind="log", stage="build", message="hello"))
        with urlopen(url, timeout=10) as answer:  # the page
            assert answer.status == 200
        stream = urlopen(url + "events", timeout=10)
        assert "hello" in stream.readline().decode()
    assert "The run has ended." in stream.read().decode()
    assert [event.message for event in seen] == ["hello"]
    with pytest.raises(URLError):
        urlopen(url, timeout=5)
    with progress.page("run", seen.append, wanted=False) as emit:
        assert emit == seen.append and capsys.readouterr().err == ""


def wait_for(browser, condition) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda _: condition())


def test_a_person_sees_the_run_go_on(browser, board, live) -> None:
    browser.get_log("browser")
    browser.get(live.url)
    board.tell(Event(kind="stage", stage="build", message="building model.keras"))
    board.tell(Event(kind="progress", stage="push", device="pi4", done=1e6, total=2e6))
    board.tell(Event(kind="measured", stage="measure", device="pi5", variant="int8"))
    board.tell(Event(kind="failed", stage="device", device="pi-zero", message="EP401: no route"))
    body = browser.find_element("id", "devices")
    wait_for(browser, lambda: "no route" in body.text)
    assert "this machine build building model.keras" in " ".join(body.text.split())
    for median in (61.24, 61.9, 60.8):
        board.tell(
            Event(
                kind="samples", stage="measure", device="pi5", variant="int8", done=3, value=median
            )
        )
    wait_for(browser, lambda: "60.8 µs, 3 rounds" in body.text)
    assert "int8 ✓" in body.text
    points = browser.find_element("css selector", "polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights[1] < heights[0] < heights[2], "the slowest round is the highest"
    assert "1.0 M of 2.0 M" in body.text and "int8" in body.text
    assert browser.find_element("css selector", "progress").get_attribute("value") == "1000000"
    assert serious(browser) == []
    board.tell(Event(kind="warning", stage="x", device="pi5", message="busy"))
    lines = browser.find_element("id", "lines")
    wait_for(browser, lambda: "busy" in lines.text)
    browser.find_element("id", "filter").send_keys("PI-ZERO")
    assert "no route" in lines.text and "busy" not in lines.text
    board.end("The run has ended.")
    wait_for(browser, lambda: browser.find_element("id", "status").text == "The run has ended.")
    assert browser.get_log("browser") == []


def test_what_a_device_says_is_text(browser, board, live) -> None:
    browser.get_log("browser")
    browser.get(live.url)
    bad = HOSTILE + "<img src=x onerror=\"document.title='owned'\">"
    for kind in ("stage", "progress", "measured", "failed", "warning", bad):
        board.tell(Event(kind=kind, stage=bad, message=bad, device=bad, variant=bad))
    wait_for(browser, lambda: "onerror" in browser.find_element("id", "devices").text)
    assert browser.find_elements("css selector", "main img, main script") == []
    assert "owned" not in browser.title
    assert browser.get_log("browser") == []


def test_a_page_learns_that_the_run_broke_off(browser) -> None:
    board = Board("run")
    server = LiveServer(board)
    browser.get(server.url)
    wait_for(browser, lambda: "running" in browser.find_element("id", "status").text)
    board.end("The run was broken off.")
    server.close()
    wait_for(browser, lambda: "broken off" in browser.find_element("id", "status").text)
