"""From bytes to events: what is taken, and that nothing else ever is."""

from __future__ import annotations

import base64
import json
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgepack.errors import EdgepackError
from edgepack.transport import events
from edgepack.transport.framing import Decoder

SHA = "a" * 64


def record(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def samples(**changes: Any) -> bytes:
    values = np.array([1000, 2000, 3000], dtype="<u8").tobytes()
    fields = {"variant": "int8", "round": 0, "start_ns": 5, "ns": packed(values), **changes}
    return record(event="samples", **fields)


def refused(data: bytes) -> str:
    with pytest.raises(EdgepackError) as caught:
        events.parse(data)
    assert caught.value.code == "EP501"
    return caught.value.what


# ---------------------------------------------------------------- records in a stream


@given(
    st.lists(st.binary(max_size=40).filter(lambda noise: b"\x1e" not in noise), max_size=5),
    st.data(),
)
def test_records_are_found_however_the_stream_is_cut(noise: list[bytes], data: Any) -> None:
    wanted = [b'{"n":%d}' % number for number in range(len(noise))]
    stream = b"".join(
        before + b"\x1e" + record + b"\n" for before, record in zip(noise, wanted, strict=True)
    )
    decoder, found = Decoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert found == wanted
    assert decoder.noise.text() == b"".join(noise).decode("utf-8", "replace")


def test_a_record_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert list(Decoder(limit=10).feed(b"\x1e0123456789\n")) == [b"0123456789"]
    for stream in (b"\x1e01234567890\n", b"\x1e01234567890"):
        with pytest.raises(EdgepackError) as caught:
            list(Decoder(limit=10).feed(stream))
        assert caught.value.code == "EP501"


def test_endless_noise_is_not_kept() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert list(decoder.feed(b"x" * 65536)) == []
    assert len(decoder.noise.text()) < 100_000


# ---------------------------------------------------------------- events


def test_the_parser_is_made_once_however_many_boards_speak_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def slowly(kind: Any) -> TypeAdapter[Any]:
        made.append(kind)
        time.sleep(0.1)
        return TypeAdapter(kind)

    events._made_adapter.cache_clear()
    monkeypatch.setattr(events, "TypeAdapter", slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(events.parse, [record(event="alive")] * 8))
    assert len(made) == 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    refused(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
_CLASSES = get_args(events.AgentEvent)
_KINDS = st.sampled_from([get_args(get_type_hints(each)["event"])[0] for each in _CLASSES])
_FIELDS = st.sampled_from(sorted({field.name for each in _CLASSES for field in fields(each)}))


@given(_KINDS, st.dictionaries(_FIELDS, _JSON, max_size=12))
def test_a_mutated_event_is_an_event_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        event = events.parse(json.dumps({"event": kind, **fields}).encode())
        if isinstance(event, events.Samples):
            event.latencies()
        if isinstance(event, events.Outputs):
            event.array()
    except EdgepackError as error:
        assert error.code == "EP501"


@pytest.mark.parametrize(
    "data",
    [
        b'{"event":"done","seconds":NaN}',
        b'{"event":"done","seconds":Infinity}',
        b'{"event":"done","seconds":1e999}',
        b'{"event":"environment","environment":{"a":{"b":1e999}}}',
        b'{"event":"environment","environment":{"a":1,"a":2}}',
        b'{"event":"done","seconds":-1}',
        b'{"event":"done","seconds":"1"}',
        b'{"event":"done","event":"hello"}',
        b'{"event":"dance"}',
        b'["done"]',
        b'{"seconds":1}',
        b"[" * 100_000,
        b'\xff\xfe{\x00"\x00',
        record(event="need", blobs=[{"sha256": SHA, "have": -1}]),
        record(event="need", blobs=[{"sha256": SHA, "have": True}]),
        record(event="need", blobs=[{"sha256": "../../etc/passwd", "have": 0}]),
        record(event="stored", sha256=SHA, bytes=2**70),
        record(event="result", variant="a", status="splendid"),
        record(event="result", variant="a", status="ok", load_ns=-5),
        record(event="result", variant="a", status="ok", load_ns=5.5),
        record(event="error", code="EP999", what="no such code"),
        samples(round=-1),
        samples(start_ns=-1),
        samples(round="0"),
        samples(variant=""),
    ],
)
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    assert refused(data)


def test_unknown_fields_are_ignored() -> None:
    assert events.parse(record(event="done", seconds=1.5, mood="good")) == events.Done(
        event="done", seconds=1.5
    )


def test_samples_are_nanoseconds() -> None:
    event = events.parse(samples())
    assert isinstance(event, events.Samples)
    assert event.latencies().tolist() == [1000, 2000, 3000]


def test_outputs_come_back_as_they_were() -> None:
    array = np.arange(6, dtype=np.int8).reshape(2, 3)
    event = events.parse(outputs_of(array))
    assert isinstance(event, events.Outputs)
    np.testing.assert_array_equal(event.array(), array)
    assert event.array().dtype == np.int8


def outputs_of(array: np.ndarray[Any, Any], **changes: Any) -> bytes:
    fields = {
        "variant": "int8",
        "output": "y",
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "n": len(array),
        "data": packed(array.tobytes()),
    }
    return record(event="outputs", **{**fields, **changes})


@pytest.mark.parametrize(
    "ns",
    [
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
        packed(b"12345"),
        packed((2**63).to_bytes(8, "little")),
        packed(bytes(8)),
        packed(b"\1" + bytes(7))[:-8],
        base64.b64encode(zlib.compress(b"\1" + bytes(7)) + b"more").decode(),
        packed(bytes(200_000_000)),
    ],
    ids=["base64", "zlib", "odd", "negative", "zero", "cut", "followed", "bomb"],
)
def test_samples_that_do_not_unpack_are_refused(ns: str) -> None:
    event = events.parse(samples(ns=ns))
    assert isinstance(event, events.Samples)
    with pytest.raises(EdgepackError) as caught:
        event.latencies()
    assert caught.value.code == "EP501"


@pytest.mark.parametrize("shape", [[2, 4], [2**40, 2**40], [6, 0]])
def test_outputs_that_do_not_fit_their_shape_are_refused(shape: list[int]) -> None:
    event = events.parse(outputs_of(np.zeros((2, 3), np.float32), shape=shape))
    assert isinstance(event, events.Outputs)
    with pytest.raises(EdgepackError):
        event.array()


def test_a_device_cannot_steer_the_terminal() -> None:
    event = events.parse(record(event="log", message="\x1b]0;owned\x07 fine\nnext"))
    assert isinstance(event, events.Log)
    assert "\x1b" not in event.message
    assert "fine\nnext" in event.message
