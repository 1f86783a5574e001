"""Which requests the access log tells, and when."""

from __future__ import annotations

from typing import Any

import pytest

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import YOUNG, Access, AccessLog
from toolway_json_logging.correlation import Correlation
from toolway_testing.clock import MovedClock


class Log(AccessLog):
    """With what it told."""

    def __init__(self, *, share: float = 1.0) -> None:
        self.told: list[Served] = []
        self.begun: list[Access] = []
        self.clock = MovedClock()
        tell, begun, clock = self.told.extend, self.begun.append, self.clock
        super().__init__(tell, begun, clock.now, clock.monotonic, share=share, quiet=["/quiet"])


def served(log: Log, **known: Any) -> Served:
    """A request that begins now."""
    request = Served({"path": "/mcp"}, [], {}, log.clock.now(), **known)
    Correlation(log.in_flight, log.clock.monotonic, trust=False).begin(request)
    return request


@pytest.mark.parametrize(
    ("known", "path", "share", "is_told"),
    [
        ({"status": 200}, "/mcp", 1.0, True),
        ({"status": 200}, "/mcp", 0.0, False),
        ({"status": 200}, "/quiet", 1.0, False),
        ({"status": 404}, "/quiet", 0.0, True),
        ({"status": 0}, "/mcp", 0.0, True),
        ({"status": 200, "error": ValueError()}, "/mcp", 0.0, True),
    ],
)
def test_failures_are_told_whatever_the_share(known: dict[str, Any], path: str, share: float, is_told: bool) -> None:
    log = Log(share=share)
    request = served(log, **known)
    request.scope = {"path": path}

    log.done(iter([request]))

    assert log.told == [request] * is_told
    assert not log.in_flight


def test_an_answer_that_goes_on_is_a_stream_and_told_once() -> None:
    log = Log()
    stream, over, waits = served(log, status=200), served(log, status=200), served(log)
    log.clock.time += YOUNG / 2
    young = served(log, status=200)
    over.seconds = YOUNG / 2  # it is over, and watchers are told of it soon

    log.look()
    assert not log.begun

    log.clock.time += YOUNG / 2
    log.look()
    log.look()

    assert [(each.served, each.seconds, each.phase) for each in log.begun] == [(stream, YOUNG, "stream begins")]
    assert [*log.in_flight] == [young]
    log.done(iter([stream, over, waits]))
    assert log.told == [stream, over, waits]
