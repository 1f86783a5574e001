"""Calls as the middleware sees them, and limiters without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Reply, Target
from toolway.plugin import Clock, RateLimited
from toolway_rate_limit.limit import Limit
from toolway_rate_limit.limiter import Limiter
from toolway_rate_limit.settings import RateLimitSettings
from toolway_rate_limit.shared_store import SharedStore

PROFILE = ClientProfile("2026-07-28")
REPLY = Reply()


class Silent:
    """A peer whom nobody talks to."""

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        raise NotImplementedError

    async def ask(self, method: str, params: Raw) -> Raw:
        raise NotImplementedError


def call(who: str = "user:alice", tool: str = "up/tool", **facts: Any) -> Call:
    """A call of a tool; `facts` are further members of the call, `teams` and `kind` of the principal."""
    principal = Principal(who, facts.pop("kind", "user"), teams=facts.pop("teams", ()))
    upstream, _, name = tool.partition("/")
    rest: dict[str, Any] = {"method": "tools/call", "server": "all", "target": Target(upstream, name), **facts}
    return Call(params={}, meta={}, principal=principal, client=PROFILE, peer=Silent(), deadline=0.0, **rest)


def limiter(clock: Clock, *rules: Mapping[str, Any], store: SharedStore | None = None, **settings: Any) -> Limiter:
    """With these rules, each called `r0`, `r1`, … unless it has a name."""
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(rules)]
    read = RateLimitSettings(rules=named, **settings)
    limits = [Limit.of(rule, read, store) for rule in read.rules]
    if store is not None:
        store.on_nodes += [limit.slots.share for limit in limits if limit.slots is not None]
    return Limiter(limits, None, clock)


async def answer(_: Call) -> Reply:
    """What an upstream does at once."""
    return REPLY


async def admitted(limited: Limiter, *calls: Call) -> int:
    """How many of these calls, one after the other, are answered."""
    return sum([await refusal(limited, each) is None for each in calls])


async def refusal(limited: Limiter, one: Call) -> RateLimited | None:
    """Why a call is refused, if it is."""
    try:
        await limited(one, answer)
    except RateLimited as refused:
        return refused
    return None


class Pending:
    """Calls that an upstream does not answer before it is told to."""

    def __init__(self, limited: Limiter) -> None:
        self._limited = limited
        self._go = asyncio.Event()
        self.tasks: list[asyncio.Task[Reply]] = []

    async def begin(self, one: Call) -> asyncio.Task[Reply]:
        """The call, once it is on its way or refused."""
        self.tasks.append(asyncio.create_task(self._limited(one, self._held)))
        await asyncio.sleep(0)
        return self.tasks[-1]

    async def end(self) -> None:
        """Answer all of them."""
        self._go.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _held(self, _: Call) -> Reply:
        await self._go.wait()
        return REPLY
