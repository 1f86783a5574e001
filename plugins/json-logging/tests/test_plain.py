"""Lines of the access log that are made together say what lines say that were made with care."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.ids import HEADER
from toolway_json_logging.json_lines import JsonLines
from toolway_json_logging.plain import SHORT

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


def easy(made: JsonLines, request: Served) -> str | None:
    """The line of what is known to be plain; None if it had to be made."""
    told, count = made.ready([request], lambda served: None)
    return told if count else None


def learned(made: JsonLines, request: Served) -> str | None:
    """The line of the same request once it was made."""
    assert easy(made, request) is None
    made.access(ended(request))
    return easy(made, request)


def ended(request: Served) -> Access:
    return Access(request.began + request.seconds, "request", request, request.seconds)


@pytest.mark.parametrize("traced", [{}, {"trace_id": "", "span_id": ""}])
def test_it_is_what_would_have_been_made(traced: dict[str, Any]) -> None:
    made = lines()
    learned(made, served(**traced))
    other = served(2, seconds=0.5625, **traced)

    line = easy(made, other)

    assert line is not None
    assert json.loads(line) == json.loads(made.access(ended(other)))
    assert "\u2028" not in line


def test_another_name_and_another_second_are_looked_at_anew() -> None:
    made = lines()
    assert learned(made, served())

    assert easy(made, served(item="other")) is None
    assert easy(made, served(method="other")) is None
    assert easy(made, served(status=404))
    assert easy(made, served(seconds=1.0)) is None
    assert learned(made, served(seconds=1.0))
    assert easy(made, served()) is None


def test_after_the_clock_was_set_back_what_is_plain_is_learned_again() -> None:
    made = lines()
    assert learned(made, served(began=NOW + 60))
    assert learned(made, served())


def test_nothing_is_learned_of_a_stream_that_begins() -> None:
    made = lines()
    made.access(Access(NOW, "stream begins", served(), 1.0))
    assert easy(made, served()) is None


def test_what_is_long_is_left_to_the_thread() -> None:
    made = lines()
    assert learned(made, served(method="m" * SHORT)) is None


def test_what_may_hold_a_secret_is_always_looked_at() -> None:
    made = lines()
    assert learned(made, served(item=SECRET)) is None
    assert learned(made, served(route="")) is None
    assert learned(made, served(error=ValueError())) is None
    assert learned(made, served(fields={HEADER: b"given"})) is None


@pytest.mark.parametrize("bad", ['","x":"', "a b", "\u2028", "\x7f", "\n"])
def test_ids_of_traces_stay_within_their_fields(bad: str) -> None:
    made = lines()
    learned(made, served())
    fine, foul = served(2), served(3, span_id=bad)

    told, count = made.ready([fine, foul], lambda served: None)

    assert count == 2
    assert [json.loads(each)["span_id"] for each in told.split("\n")] == [fine.span_id, bad]
    assert told.isascii()


def test_what_is_learned_on_the_way_is_known_for_the_rest() -> None:
    made, careful = lines(), list[Served]()

    def make(request: Served) -> str:
        careful.append(request)
        return made.access(ended(request))

    _, count = made.ready([served(1), served(2), served(3, began=NOW + 1), served(4, began=NOW + 1)], make)

    assert count == 4
    assert [each.request_id for each in careful] == ["0192-1", "0192-3"]


def test_what_cannot_be_encoded_is_never_known() -> None:
    made, request = lines(), served()
    request.principal = Principal("user:\ud800")

    with pytest.raises(UnicodeEncodeError):
        made.access(ended(request))

    assert easy(made, request) is None


def test_those_that_are_not_known_come_first() -> None:
    made = lines()
    learned(made, served())

    told, count = made.ready([served(2), served(3, item="new")], lambda served: served.item)

    assert (told.partition("\n")[0], count) == ("new", 2)
