"""What limits cost a call that is allowed: the plugin's middleware around a call that is answered at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import Any

import machine
from bench import Bench
from outcome import Outcome, Table, Verdict

from toolway.clock import SystemClock
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, CallNext, ClientProfile, Reply, Target

USERS, TOOLS = 1_000, 50
REPEATS = 20
GOAL = 3.0
MICROSECONDS = 1e6
MANY = "1000000000/s"

RULES: Mapping[str, list[dict[str, Any]]] = {
    "the default rule": [{"name": "principals", "rate": MANY}],
    "a rate and calls at once": [{"name": "principals", "rate": MANY, "concurrent": 1_000}],
    "two rules": [{"name": "principals", "rate": MANY}, {"name": "servers", "by": "server", "rate": MANY}],
    "five rules": [
        {"name": "principals", "rate": MANY},
        {"name": "teams", "by": "team", "rate": MANY},
        {"name": "servers", "by": "server", "rate": MANY},
        {"name": "tools", "by": ["principal", "tool"], "rate": MANY, "tools": ["up/*"]},
        {"name": "all", "by": "global", "rate": MANY, "concurrent": 1_000},
    ],
}
REPLY = Reply()


def run(bench: Bench) -> Outcome:
    """Measure in this process, as the gateway does it in its own."""
    outcome = Outcome("limits")
    calls = [_call(number) for number in range(USERS)]
    samples: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        with machine.alone():
            for name, rules in RULES.items():
                seconds = asyncio.run(_measure(_limiter(rules), calls))
                samples.setdefault(name, []).append(seconds * MICROSECONDS)
    lines = [[name, f"{statistics.median(seen):.3f}", f"{max(seen):.3f}"] for name, seen in samples.items()]
    outcome.tables.append(Table("µs each", [["", "median", "worst"], *lines]))
    outcome.figures = dict(samples)
    usual = statistics.median(samples["the default rule"])
    outcome.verdicts = [Verdict("a call that the default rule allows", usual, "at most", GOAL, " µs")]
    return outcome


async def _measure(limiter: Any, calls: list[Call]) -> float:
    """Seconds that one call takes longer with limits than without."""
    await _time(limiter, calls)
    return min([await _time(limiter, calls) - await _time(_pass_on, calls) for _ in range(5)])


async def _time(limiter: Any, calls: list[Call]) -> float:
    began = time.perf_counter()
    for _ in range(REPEATS):
        for call in calls:
            await limiter(call, _answer)
    return (time.perf_counter() - began) / REPEATS / len(calls)


async def _pass_on(call: Call, call_next: CallNext) -> Reply:
    return await call_next(call)


async def _answer(call: Call) -> Reply:
    return REPLY


def _limiter(rules: list[dict[str, Any]]) -> Any:
    """The middleware as the plugin makes it, load shedding included."""
    from toolway_rate_limit.limit import Limit
    from toolway_rate_limit.limiter import Limiter
    from toolway_rate_limit.settings import RateLimitSettings
    from toolway_rate_limit.shedder import Shedder

    clock = SystemClock()
    settings = RateLimitSettings.model_validate({"rules": rules})
    limits = [Limit.of(rule, settings, None) for rule in settings.rules]
    return Limiter(limits, Shedder(settings.shedding, clock), clock)


def _call(number: int) -> Call:
    """Of one of the users; nobody listens to it."""
    principal = Principal(f"user:u{number}", teams=("ops", "web"))
    peer: Any = None
    target = Target("up", f"tool{number % TOOLS}")
    return Call("tools/call", {}, {}, "all", principal, ClientProfile("2026-07-28"), peer, 0.0, target=target)
