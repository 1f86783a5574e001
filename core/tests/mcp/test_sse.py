"""Server-sent events: what the parser takes, and that chunk borders never matter."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from toolway.mcp.sse import Event, EventTooLarge, SseParser, encode_event

STREAM = (
    b"\xef\xbb\xbf: comment\r\nid: 1\r\ndata: first\r\ndata:second\n\n"
    b"event: ping\rretry: 1500\rdata\r\rdata:  two spaces\n\n: only a comment\n\nid: 2\ndata:\r\n\r\n"
)
EVENTS = [
    Event(b"first\nsecond", id="1"),
    Event(b"", event="ping", retry=1500),
    Event(b" two spaces"),
    Event(b"", id="2"),
]
LINES = st.lists(
    st.sampled_from(
        [b"data: a", b"data", b"data:\xc3\xa4", b"id: 7", b"id", b"event: e", b"retry: 12", b":c", b"", b""]
    )
    | st.binary(max_size=12).filter(lambda line: b"\n" not in line and b"\r" not in line),
    max_size=30,
)


def parse(stream: bytes, *borders: int) -> list[Event]:
    parser, events, start = SseParser(), [], 0
    for end in (*sorted(borders), len(stream)):
        events += parser.feed(stream[start:end])
        start = end
    return events


def test_the_fields_of_the_specification_are_read() -> None:
    assert parse(STREAM) == EVENTS


@pytest.mark.parametrize("border", range(len(STREAM)))
def test_a_border_at_any_byte_changes_nothing(border: int) -> None:
    assert parse(STREAM, border) == EVENTS


def test_one_byte_at_a_time_changes_nothing() -> None:
    assert parse(STREAM, *range(len(STREAM))) == EVENTS


@given(LINES, st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=1), st.booleans(), st.data())
def test_any_chunking_of_any_stream_gives_the_same_events(
    lines: list[bytes], ends: list[bytes], mark: bool, data: st.DataObject
) -> None:
    body = b"".join(line + ends[number % len(ends)] for number, line in enumerate(lines))
    stream = (b"\xef\xbb\xbf" if mark else b"") + body
    borders = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert parse(stream, *borders) == parse(stream)


@given(st.binary(), st.none() | st.text("abc-9"), st.none() | st.integers(0, 99999))
def test_what_is_encoded_is_read_back(data: bytes, identity: str | None, retry: int | None) -> None:
    normalized = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    encoded = encode_event(data, id=identity, event="message", retry=retry)
    assert parse(encoded) == [Event(normalized, "message", identity, retry)]


def test_an_unfinished_event_is_not_reported() -> None:
    assert parse(b"data: lost\n") == []


def test_an_id_with_a_null_and_a_retry_that_is_no_number_are_ignored() -> None:
    assert parse(b"id: a\0b\nretry: soon\nretry: " + b"9" * 5000 + b"\ndata: x\n\n") == [Event(b"x")]


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 300, b"data: xxxx\n" * 30, b":" + b"c" * 300, b"data:\n" * 300])
def test_an_event_above_the_limit_is_refused(stream: bytes) -> None:
    parser = SseParser(max_event=100)
    with pytest.raises(EventTooLarge):
        parser.feed(stream)


def test_many_small_events_in_one_chunk_are_within_the_limit() -> None:
    assert len(SseParser(max_event=100).feed(b"data: " + b"x" * 100 + b"\n\n" + b"data: x\n\n" * 5000)) == 5001


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_time_is_linear_whatever_ends_the_lines(end: bytes) -> None:
    stream = (b"data: x" + end + end) * 100_000
    started = time.perf_counter()
    assert len(SseParser().feed(stream)) == 100_000
    assert time.perf_counter() - started < 5.0


@pytest.mark.parametrize("field", ["id", "event"])
@pytest.mark.parametrize("value", ["a\nb", "a\rdata: injected"])
def test_a_line_break_in_a_field_is_not_encoded(field: str, value: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"{}", **{field: value})  # type: ignore[arg-type]
