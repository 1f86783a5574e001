"""Whoever calls what, in whatever order, gets what the upstream would say to them, or said to them a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cached import Answering, cache, call, read, result
from hypothesis import given, settings, strategies as st

from toolway.hookspecs.routing import Call, Reply
from toolway.plugin import UpstreamTimeout
from toolway_cache.orders import Order
from toolway_testing.clock import MovedClock

USERS = ("user:alice", "user:bob", "user:carol")
METHODS = {
    "up/mine": "tools/call",
    "up/all": "tools/call",
    "up/greet": "prompts/get",
    "up/mem:private": "resources/read",
    "up/mem:public": "resources/read",
}
FOR_ALL = {"up/all", "up/mem:public"}
NEWS = {
    "tools/call": "notifications/tools/list_changed",
    "prompts/get": "notifications/prompts/list_changed",
    "resources/read": "notifications/resources/updated",
}
TTL, STALE, FAILURES = 10.0, 5.0, 1.0
RULES = [{"items": ["up/all"], "share": True}]

Step = tuple[Any, ...]
"""What happens, and to what. Steps of a list happen at the same time, one beginning after the other."""


class World:
    """An upstream whose answers differ by caller and change; it remembers since when what was true for whom."""

    def __init__(self) -> None:
        self.clock, self.is_down, self.down_at = MovedClock(), False, -1e9
        self.versions = dict.fromkeys(METHODS, 0)
        self.public = {name: {0: name in FOR_ALL} for name in METHODS}
        self.ended: dict[tuple[str, int], float] = {}
        self.announced = dict.fromkeys(METHODS, 0)
        self.upstream = Answering()
        self.upstream.instead = self.answer
        ttl = {"tools": TTL, "prompts": TTL, "resources": TTL}
        self.cache = cache(
            clock=self.clock, upstream=self.upstream, rules=RULES, ttl=ttl, stale=STALE, failures=FAILURES
        )

    async def answer(self, one: Call) -> Reply:
        """What the upstream says at some moment of a call that takes some time."""
        name = f"up/{one.target.name}" if one.target else ""
        if name == "up/write":
            await asyncio.sleep(0)
            for each in METHODS:
                self.changes(each)
        version, is_down = self.versions.get(name, 0), self.is_down
        is_public = self.public.get(name, {}).get(version, False)
        for _ in range(3):
            await asyncio.sleep(0)
        if is_down:
            raise UpstreamTimeout("down")
        said = {"who": "everybody" if is_public else one.principal.id, "what": name, "version": version}
        return result({**said, "ttlMs": TTL * 1000, "cacheScope": "public" if is_public else "private"})

    def changes(self, name: str, *, turns: bool = False) -> None:
        """Something is different from now on; for whom it is too if it `turns`."""
        is_public = self.public[name][self.versions[name]]
        self.ended[name, self.versions[name]] = self.clock.time
        self.versions[name] += 1
        self.public[name][self.versions[name]] = is_public is not turns

    def is_told(self, name: str) -> None:
        """The upstream says that it changed."""
        self.announced[name] = self.versions[name]
        order = Order.of_news("up", NEWS[METHODS[name]], name.removeprefix("up/") if ":" in name else "")
        assert order is not None
        order.apply(self.cache.kept)

    async def calls(self, name: str, who: str) -> None:
        """Somebody calls, and what they get is checked."""
        oldest, is_down = self.announced[name], self.is_down
        try:
            said = read(await self.cache(call(name, who, method=METHODS[name]), self.upstream))
        except UpstreamTimeout:
            assert is_down or self.is_down or self.clock.time - self.down_at < FAILURES
            return
        version = said["version"]
        assert said["who"] == ("everybody" if self.public[name][version] else who)
        assert said["what"] == name and version >= oldest
        assert self.clock.time - self.ended.get((name, version), self.clock.time) <= TTL + STALE

    async def writes(self, who: str) -> None:
        """Somebody changes everything; from then on nobody may see what was before, whether it fails or not."""
        before = {name: version + 1 for name, version in self.versions.items()}
        with suppress(UpstreamTimeout):
            await self.cache(call("up/write", who, raw={}), self.upstream)
        for name, version in before.items():
            self.announced[name] = max(self.announced[name], version)

    async def take(self, several: Sequence[Step]) -> None:
        """These happen at the same time; some calls are given up."""
        tasks: list[asyncio.Task[None]] = []
        for kind, *what in several:
            if kind == "calls":
                tasks.append(asyncio.create_task(self.calls(what[0], what[1])))
            elif kind == "writes":
                tasks.append(asyncio.create_task(self.writes(what[0])))
            elif kind == "gives up":
                [task.cancel() for task in tasks[: what[0]]]
            elif kind == "changes":
                self.changes(what[0], turns=what[0] == "up/mem:public" and what[2])
                if what[1] or what[2]:
                    self.is_told(what[0])
            else:
                self.is_down, self.down_at = not self.is_down, self.clock.time
            await asyncio.sleep(0)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    def waits(self, seconds: float) -> None:
        """Time passes while nothing happens."""
        self.clock.time += seconds
        self.down_at = self.clock.time if self.is_down else self.down_at


def moments(names: list[str], users: list[str]) -> st.SearchStrategy[list[tuple[list[Step], float]]]:
    """What happens to these, and how much time passes in between."""
    name, user = st.sampled_from(names), st.sampled_from(users)
    called = st.tuples(st.just("calls"), name, user)
    steps = st.one_of(
        called,
        called,
        called,
        st.tuples(st.just("writes"), user),
        st.tuples(st.just("changes"), name, st.booleans(), st.booleans()),
        st.tuples(st.just("gives up"), st.integers(1, 3)),
        st.tuples(st.just("goes down or up")),
    )
    pause = st.sampled_from([0.0, 0.0, 0.5, 1.0, 4.0, 9.9, 10.1, 16.0])
    return st.lists(st.tuples(st.lists(steps, min_size=1, max_size=7), pause), min_size=1, max_size=5)


def some(of: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """One of these or more: with few of them they meet more often."""
    return st.lists(st.sampled_from(sorted(of)), min_size=1, unique=True)


@settings(max_examples=200, deadline=None)
@given(happens=st.tuples(some([*METHODS]), some(USERS)).flatmap(lambda some: moments(*some)))
def test_callers_get_what_they_would_get_without_a_cache(happens: list[tuple[list[Step], float]]) -> None:
    async def run() -> None:
        world = World()
        for several, seconds in happens:
            await world.take(several)
            world.waits(seconds)

    asyncio.run(run())
