"""What ended is told together: to each watcher of all that there is, backwards, and soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest
from msgspec import Raw

from toolway.edge.metrics import Instruments
from toolway.edge.watched import TOGETHER, methods
from toolway.gateway.watching import Watchers
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply
from toolway.hookspecs.telemetry import CallWatcher, RequestWatcher, Served
from toolway_testing.polling import eventually


class Named(RequestWatcher):
    """Hears of ends only."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self._told = name, told

    def done(self, requests: Iterator[Served]) -> None:
        self._told += [self.name for _ in requests]


async def test_what_a_watcher_leaves_out_is_not_called_and_what_ends_is_told_backwards() -> None:
    told: list[str] = []
    watchers = [Named("first", told), Named("second", told)]

    begins, ends = methods(watchers, RequestWatcher)
    every = Watchers(watchers, [], [], Instruments().late)
    every.requests.done(Served({}, []))
    every.tell()

    assert begins == ()
    assert [each.__self__.name for each in ends] == ["first", "second"]  # type: ignore[attr-defined]
    assert told == ["second", "first"]


class Outcomes(CallWatcher):
    """Hears how calls ended."""

    name = "outcomes"

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def done(self, calls: Iterator[Call]) -> None:
        self._told += [call.outcome for call in calls]


class Choosy(RequestWatcher):
    """Fails with some, after it took them or before."""

    name = "choosy"

    def __init__(self, fails_at_once: int = 0) -> None:
        self.told: list[str] = []
        self._fails_at_once = fails_at_once

    def done(self, requests: Iterator[Served]) -> None:
        if self._fails_at_once:
            self._fails_at_once -= 1
            raise RuntimeError
        for request in requests:
            if request.method == "bad":
                raise ValueError
            self.told.append(request.method)


@pytest.mark.parametrize(
    ("methods_of", "at_once", "told", "failures"),
    [
        (["a", "bad", "b", "bad", "c"], 0, ["a", "b", "c"], 2),
        (["bad"], 0, [], 1),
        (["a", "b", "bad"], 0, ["a", "b"], 1),
        (["a", "b", "c"], 1, ["b", "c"], 1),
        (["a", "b"], 9, [], 2),
    ],
)
async def test_a_watcher_that_fails_with_one_is_told_of_the_others(
    methods_of: list[str], at_once: int, told: list[str], failures: int, caplog: pytest.LogCaptureFixture
) -> None:
    first, last = Choosy(), Choosy(at_once)
    every = Watchers([first, last], [], [], Instruments().late)
    for method in methods_of:
        every.requests.done(Served({}, [], method=method))

    every.tell()

    assert last.told == told
    assert first.told == [each for each in methods_of if each != "bad"]
    assert sum("a watcher failed" in each.message for each in caplog.records) == failures + methods_of.count("bad")


async def test_what_ended_is_told_soon_and_at_once_when_it_is_much() -> None:
    watcher = Choosy()
    every = Watchers([watcher], [], [], Instruments().late)

    every.requests.done(Served({}, [], method="one"))
    assert watcher.told == []
    await eventually(lambda: watcher.told == ["one"])

    for _ in range(TOGETHER):
        every.requests.done(Served({}, [], method="many"))
    assert watcher.told == ["one"]
    await asyncio.sleep(0)
    assert len(watcher.told) == 1 + TOGETHER


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (b'{"content":[]}', "ok"),
        (b'{"isError":false}', "ok"),
        (b'{"isError":true}', "tool_error"),
        (b'{"isError":"yes"}', "error"),
        (b"[]", "error"),
        (None, "ok"),
    ],
)
async def test_the_outcome_of_a_call_is_known_when_its_end_is_told(result: bytes | None, outcome: str) -> None:
    told: list[str] = []
    watchers, nobody = Watchers([], [Outcomes(told)], [], Instruments().late), cast("Peer", None)
    call = Call("tools/call", {}, {}, "all", Principal("user:alice"), ClientProfile("2026-07-28"), nobody, 0.0)

    watchers.done(call, Reply(result=None if result is None else Raw(result)), 0.0)
    watchers.tell()

    assert told == [outcome]
    assert call.served is None


async def test_a_call_that_ended_is_told_while_its_request_goes_on() -> None:
    told: list[str] = []
    watchers, nobody = Watchers([], [Outcomes(told)], [], Instruments().late), cast("Peer", None)
    request = Served({}, [])
    call = Call("tools/call", {}, {}, "all", Principal("user:alice"), ClientProfile("2026-07-28"), nobody, 0.0)
    call.served = request

    watchers.done(call, Reply(), 0.0)
    watchers.tell()
    assert told == ["ok"]
    assert call in (request.calls or ())

    watchers.requests.done(request)
    watchers.tell()
    assert told == ["ok"]
    assert not hasattr(call.served, "calls")
