"""Calls that are made before anybody wants their results, so that copies are there."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Raw

from toolway.hookspecs.api import Incoming
from toolway.hookspecs.routing import Call, ClientProfile, Reply
from toolway.plugin import Kernel
from toolway_cache.cache import KEPT
from toolway_cache.nobody import CLIENT_INFO, Nobody
from toolway_cache.schemas import Warm, WarmCall, Warmed

AT_ONCE = 8
MODERN, LEGACY = "2026-07-28", "2025-11-25"


async def warm(kernel: Kernel, incoming: Incoming) -> list[Warmed]:
    """Make the calls that the body names, as whoever asks; raises NotFound and Forbidden for servers."""
    body: Warm = incoming.body
    for server in {each.server for each in body.calls}:
        incoming.demand("servers:connect", server)
    places = asyncio.Semaphore(AT_ONCE)

    async def made(one: WarmCall) -> Warmed:
        async with places:
            call = _call(one, incoming)
            return _outcome(one, call, await kernel.call(call))

    return list(await asyncio.gather(*(made(each) for each in body.calls)))


def _call(one: WarmCall, incoming: Incoming) -> Call:
    params = {"uri": one.name} if one.method == "resources/read" else {"name": one.name, "arguments": one.arguments}
    return Call(
        method=one.method,
        params={key: Raw(msgspec.json.encode(value)) for key, value in params.items()},
        meta={},
        server=one.server,
        principal=incoming.principal,
        client=ClientProfile(MODERN if one.era == "modern" else LEGACY, info=CLIENT_INFO),
        peer=Nobody(),
        deadline=0.0,
        address=incoming.address,
    )


def _outcome(one: WarmCall, call: Call, reply: Reply) -> Warmed:
    said = {"server": one.server, "name": one.name, "era": one.era}
    if reply.fault is not None:
        return Warmed(**said, outcome="failed", reason=reply.fault.message)
    if call.answered_by:
        return Warmed(**said, outcome="fresh")
    if KEPT in call.__dict__:
        return Warmed(**said, outcome="kept")
    reason = "its results are not kept; see the rules of the cache, and what the upstream says of their lifetime"
    return Warmed(**said, outcome="not kept", reason=reason)
