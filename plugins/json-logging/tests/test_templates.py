"""Lines of the access log that are filled in say what lines say that were made with care."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.ids import HEADER
from toolway_json_logging.json_lines import JsonLines

NOW, SECRET = 1_800_000_000.25, "planted-secret-0123456789"


def served(number: int = 1, **known: Any) -> Served:
    scope = {"method": "POST", "path": "/mcp", "client": ("192.0.2.1", 5), "headers": []}
    traced = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
    fields = {"route": "/mcp", "method": "tools/call", "item": '100 % "ok" \u2028', "status": 200, **traced, **known}
    made = Served(scope, [], request_id=f"0192-{number}", **fields)
    made.principal = Principal("user:alice")
    return made


def lines() -> JsonLines:
    return JsonLines(lambda text, key=None: text.replace(SECRET, "[redacted]"))


def learned(made: JsonLines, request: Served) -> str | None:
    """What is filled in for the same request once a line of it was made."""
    access = Access(NOW, "request", request, 0.001)
    assert made.ready(access) is None
    made.access(access)
    return made.ready(access)


@pytest.mark.parametrize("traced", [{}, {"trace_id": "", "span_id": ""}])
def test_what_is_filled_in_is_what_would_have_been_made(traced: dict[str, Any]) -> None:
    made = lines()
    learned(made, served(**traced))
    other = Access(NOW + 0.5, "request", served(2, **traced), 0.0625)

    filled = made.ready(other)

    assert filled is not None
    assert json.loads(filled) == json.loads(made.access(other))
    assert "\u2028" not in filled


def test_another_status_and_another_second_are_made_anew() -> None:
    made = lines()
    assert learned(made, served())

    assert made.ready(Access(NOW, "request", served(status=404), 0.1)) is None
    assert made.ready(Access(NOW + 1, "request", served(), 0.1)) is None


def test_what_may_hold_a_secret_is_never_filled_in() -> None:
    made = lines()
    assert learned(made, served(item=SECRET)) is None
    assert learned(made, served(route="")) is None
    assert learned(made, served(error=ValueError())) is None
    assert learned(made, served(trace_id='","x":"')) is None
    assert learned(made, served(fields={HEADER: b"given"})) is None
