"""Lines as JSON."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.bounds import LINE
from toolway_json_logging.json_lines import SERVED_FIELD, JsonLines

SECRET = "planted-secret-0123456789"


def redact(text: str, key: str | None = None) -> str:
    return text.replace(SECRET, "[redacted]")


LINES = JsonLines(redact)


def record(message: str = "hello", request: Served | None = None, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("toolway.test", logging.WARNING, __file__, 1, message, (), None)
    made.__dict__.update(extra, **{SERVED_FIELD: request})
    return made


def served(**known: Any) -> Served:
    scope = {"method": "POST", "path": "/mcp", "client": ("192.0.2.1", 5), "headers": []}
    return Served({**scope, **known.pop("scope", {})}, [], **known)


def read(line: str) -> dict[str, Any]:
    assert "\n" not in line
    assert "\r" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def test_a_line_has_the_fields_that_every_line_has() -> None:
    made = record()
    made.created = 1_800_000_000.123456

    assert read(LINES.format(made)) == {
        "timestamp": "2027-01-15T08:00:00.123456Z",
        "level": "WARNING",
        "event": "hello",
        "logger": "toolway.test",
    }


def test_a_line_of_a_request_says_which() -> None:
    known = served(request_id="r1", trace_id="t1", span_id="s1", server="all", upstream="up", item="echo")
    known.principal = Principal("user:alice")

    fields = read(LINES.format(record(request=known)))

    assert {"request_id": "r1", "trace_id": "t1", "span_id": "s1", "principal": "user:alice"}.items() <= fields.items()
    assert {"server": "all", "upstream": "up", "item": "echo"}.items() <= fields.items()


def test_what_is_logged_besides_the_message_is_there_and_replaces_nothing() -> None:
    fields = read(LINES.format(record(level="fake", attempts=3, is_new=True, ratio=0.5, none=None, thing={"a": 1})))

    assert (fields["level"], fields["event"]) == ("WARNING", "hello")
    assert (fields["attempts"], fields["is_new"], fields["ratio"], fields["none"]) == (3, True, 0.5, None)
    assert fields["thing"] == "{'a': 1}"


def test_an_exception_is_fields() -> None:
    made = record()
    try:
        raise ValueError("bad\nluck")
    except ValueError:
        made.exc_info = sys.exc_info()

    fields = read(LINES.format(made))

    assert (fields["exception"], fields["exception_message"]) == ("builtins.ValueError", "bad\nluck")
    assert fields["stacktrace"].startswith("Traceback")
    assert fields["stacktrace"].endswith("ValueError: bad\nluck")


def test_a_very_long_traceback_keeps_its_end() -> None:
    made = record()
    try:
        try:
            raise ValueError("x" * 100_000)
        except ValueError:
            raise KeyError("the end") from None
    except KeyError:
        made.exc_info = sys.exc_info()
    made.stack_info = "frame\n" * 10_000

    line = LINES.format(made)

    assert len(line.encode()) <= LINE
    assert "the end" in read(line)["stacktrace"]


ODD = '\0\x1b\n\r\u2028\x9b"\\é漢😀x'
TEXT = st.text() | st.text(alphabet=ODD, min_size=500, max_size=600).map(lambda text: text * 10)


@given(TEXT, st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats() | TEXT, max_size=50))
def test_whatever_is_logged_is_one_bounded_line_of_json(message: str, extra: dict[str, Any]) -> None:
    reserved = {name: value for name, value in extra.items() if name not in record().__dict__}

    line = LINES.format(record(message, **reserved))

    assert read(line)["logger"] == "toolway.test"
    assert len(line.encode()) <= LINE
    assert re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line) is None


@given(st.integers(900, 1_100), st.integers(0, 70_000))
def test_no_half_of_a_secret_is_left_where_a_field_is_cut(before: int, after: int) -> None:
    line = LINES.format(record("x" * before + SECRET + "y" * after, extra="z" * before + SECRET + "y" * after))

    assert "planted" not in redact(line)


def test_a_number_that_is_too_long_for_readers_is_a_text() -> None:
    assert read(LINES.format(record(big=10**30)))["big"] == "1" + "0" * 30


def test_a_request_is_a_line_of_the_access_log() -> None:
    known = served(request_id="r1", route="/mcp", method="tools/call", upstream="up", item="echo", status=200)

    fields = read(LINES.access(Access(1_800_000_000.0, "request", known, 0.00123456)))

    assert fields == {
        "timestamp": "2027-01-15T08:00:00.000000Z",
        "level": "INFO",
        "event": "request",
        "logger": "toolway.access",
        "request_id": "r1",
        "upstream": "up",
        "item": "echo",
        "http_method": "POST",
        "route": "/mcp",
        "method": "tools/call",
        "status": 200,
        "duration": 0.001235,
        "address": "192.0.2.1",
    }


@given(TEXT, TEXT)
def test_a_path_or_an_item_can_pretend_nothing(path: str, item: str) -> None:
    known = served(status=404, item=item, scope={"path": path})

    line = LINES.access(Access(0.0, "request", known, 0.0))

    assert read(line)["status"] == 404
    assert len(line.encode()) <= LINE


@pytest.mark.parametrize(("status", "level"), [(200, "INFO"), (404, "INFO"), (500, "WARNING"), (0, "WARNING")])
def test_what_went_wrong_here_is_a_warning(status: int, level: str) -> None:
    assert read(LINES.access(Access(0.0, "request", served(status=status), 0.0)))["level"] == level
