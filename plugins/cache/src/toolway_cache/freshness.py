"""For how long a result is fresh and for whom it is: what it says itself, else what its plan says."""

from __future__ import annotations

from typing import Literal

import msgspec

from toolway.hookspecs.routing import Reply
from toolway_cache.plans import Plan

NOT_KEPT = frozenset({-32042, -32020, -32021, -32022})
"""Faults that say what this client is asked for or lacks (MCP 2025-11-25, elicitation; 2026-07-28, errors)."""


class Said(msgspec.Struct, rename="camel"):
    """What a result says about itself (MCP 2026-07-28, caching; tools, `isError`)."""

    ttl_ms: int | float | None = None
    cache_scope: Literal["public", "private"] | None = None
    is_error: bool = False
    result_type: str = "complete"


class Freshness(msgspec.Struct, frozen=True):
    """Seconds that a reply is fresh, and whether everybody may have it; `is_told` if the client is told how long."""

    ttl: float
    is_public: bool = False
    is_failure: bool = False
    is_told: bool = False


_SAID = msgspec.json.Decoder(Said)


def freshness(
    reply: Reply, plan: Plan, method: str, *, is_modern: bool, failures: float, longest: float
) -> Freshness | None:
    """None when the reply must not be kept. What legacy upstreams seem to say is the gateway's own."""
    if reply.fault is not None:
        return None if reply.fault.code in NOT_KEPT or not failures else Freshness(failures, is_failure=True)
    if reply.kind != "complete" or reply.result is None:
        return None
    try:
        said = _SAID.decode(reply.result)
    except msgspec.DecodeError:
        return None
    if said.result_type != "complete":
        return None
    if said.is_error:
        return Freshness(failures, is_failure=True) if failures else None
    ttl, is_told = plan.ttl, False
    if is_modern and said.ttl_ms is not None and not plan.fixed:
        ttl = min(said.ttl_ms / 1000, longest)
        is_told = True
    is_public = is_modern and method == "resources/read" and said.cache_scope == "public"
    return Freshness(ttl, is_public, is_told=is_told) if ttl > 0 else None
