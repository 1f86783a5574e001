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
from toolway_json_logging.templates import SHORT

NOW, SECRET = 1_800_000_000.25, "planted-secret-0123456789"


def served(number: int = 1, **known: Any) -> Served:
    scope = {"method": "POST", "path": "/mcp", "client": ("192.0.2.1", 5), "headers": []}
    traced = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
    fields: dict[str, Any] = {
        "route": "/mcp",
        "method": "tools/call",
        "item": '100 % "ok" \u2028',
        "status": 200,
        "seconds": 0.001,
    }
    fields |= {"began": NOW, **traced, **known}
    made = Served(scope, [], request_id=f"0192-{number}", **fields)
    made.principal = Principal("user:alice")
    return made


def lines() -> JsonLines:
    return JsonLines(lambda text, key=None: text.replace(SECRET, "[redacted]"))


def filled(made: JsonLines, request: Served) -> str | None:
    """The line that is filled in; None if it had to be made."""
    told = made.ready([request], lambda served: None)
    return told[0] if told else None


def learned(made: JsonLines, request: Served) -> str | None:
    """What is filled in for the same request once a line of it was made."""
    assert filled(made, request) is None
    made.access(ended(request))
    return filled(made, request)


def ended(request: Served) -> Access:
    return Access(request.began + request.seconds, "request", request, request.seconds)


@pytest.mark.parametrize("traced", [{}, {"trace_id": "", "span_id": ""}])
def test_what_is_filled_in_is_what_would_have_been_made(traced: dict[str, Any]) -> None:
    made = lines()
    learned(made, served(**traced))
    other = served(2, seconds=0.5625, **traced)

    line = filled(made, other)

    assert line is not None
    assert json.loads(line) == json.loads(made.access(ended(other)))
    assert "\u2028" not in line


def test_another_status_and_another_second_are_made_anew() -> None:
    made = lines()
    assert learned(made, served())

    assert filled(made, served(status=404)) is None
    assert filled(made, served(seconds=1.0)) is None
    assert learned(made, served(seconds=1.0))
    assert filled(made, served()) is None


def test_after_the_clock_was_set_back_lines_are_filled_in_again() -> None:
    made = lines()
    assert learned(made, served(began=NOW + 60))
    assert learned(made, served())


def test_a_stream_that_begins_is_like_no_other() -> None:
    made = lines()
    made.access(Access(NOW, "stream begins", served(), 1.0))
    assert filled(made, served()) is None


def test_what_is_long_is_left_to_the_thread() -> None:
    made = lines()
    assert learned(made, served(method="m" * SHORT)) is None


def test_what_may_hold_a_secret_is_never_filled_in() -> None:
    made = lines()
    assert learned(made, served(item=SECRET)) is None
    assert learned(made, served(route="")) is None
    assert learned(made, served(error=ValueError())) is None
    assert learned(made, served(fields={HEADER: b"given"})) is None


@pytest.mark.parametrize("name", ["trace_id", "span_id"])
def test_ids_of_traces_that_are_none_are_never_filled_in(name: str) -> None:
    made = lines()
    request = served()
    setattr(request, name, '","x":"')
    assert learned(made, request) is None


@pytest.mark.parametrize("bad", ['","x":"', "a b", "12 34", "x"])
def test_of_ids_that_come_together_only_those_that_are_fine_are_filled_in(bad: str) -> None:
    made, careful = lines(), list[Served]()
    learned(made, served())
    fine, foul = served(2), served(3, span_id=bad)

    told = made.ready([fine, foul], careful.append)

    assert [json.loads(each)["trace_id"] for each in told] == [fine.trace_id]
    assert careful == [foul]


@pytest.mark.parametrize("name", ["trace_id", "span_id"])
def test_one_id_without_the_other_is_no_template_for_both(name: str) -> None:
    made, request = lines(), served()
    setattr(request, name, "")

    assert learned(made, request) is None
    assert filled(made, served(2)) is None
