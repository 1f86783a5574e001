"""Lines for people."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.handler import chosen_lines
from toolway_json_logging.json_lines import SERVED_FIELD, JsonLines
from toolway_json_logging.text_lines import TextLines


def redact(text: str, key: str | None = None) -> str:
    return text


PLAIN = TextLines(redact, coloured=False)


def record(message: str) -> logging.LogRecord:
    made = logging.LogRecord("toolway.test", logging.ERROR, __file__, 1, message, (), None)
    made.created = 1_800_000_000.5
    return made


def test_a_line_is_short_and_names_the_request() -> None:
    made = record("hello")
    made.__dict__[SERVED_FIELD] = Served({}, [], request_id="r1")

    assert PLAIN.format(made) == "08:00:00.500 ERROR   toolway.test hello request_id=r1"


def test_a_line_is_coloured_when_wanted() -> None:
    assert (
        TextLines(redact, coloured=True).format(record("hello")).startswith("\x1b[2m08:00:00.500\x1b[0m \x1b[31mERROR")
    )


def test_a_request_is_told_in_one_line() -> None:
    request = Served({"method": "GET", "path": "/x"}, [], status=200, route="/mcp", request_id="r1")

    told = PLAIN.access(Access(1_800_000_000.5, "stream begins", request, 1.0))

    assert told == "08:00:00.500 INFO    toolway.access stream begins: GET /mcp 200 1000.0 ms request_id=r1"


@given(st.text())
def test_nothing_pretends_to_be_another_line(message: str) -> None:
    made = record(message)
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()

    first, *rest = PLAIN.format(made).split("\n")

    assert first.startswith("08:00:00.500 ERROR   toolway.test ")
    assert all(line.startswith("    ") for line in rest)
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u2028]", line) for line in (first, *rest))


@pytest.mark.parametrize(
    ("form", "environment", "expected"),
    [("auto", {}, JsonLines), ("json", {}, JsonLines), ("text", {}, TextLines)],
)
def test_without_a_terminal_lines_are_json_unless_text_is_wanted(
    form: str, environment: dict[str, str], expected: type[Any], tmp_path: Any
) -> None:
    with (tmp_path / "log").open("w") as file:
        assert type(chosen_lines(form, redact, file.fileno(), environment.get)) is expected


@pytest.mark.parametrize(
    ("form", "environment", "coloured"),
    [("auto", {}, True), ("auto", {"NO_COLOR": "1"}, False), ("auto", {"TERM": "dumb"}, False), ("json", {}, None)],
)
def test_a_person_at_a_terminal_gets_coloured_text(
    form: str, environment: dict[str, str], coloured: bool | None
) -> None:
    import os

    master, terminal = os.openpty()
    try:
        lines = chosen_lines(form, redact, terminal, environment.get)
        assert isinstance(lines, JsonLines if coloured is None else TextLines)
        if coloured is not None:
            assert ("\x1b" in lines.format(record("hello"))) == coloured
    finally:
        os.close(master)
        os.close(terminal)
