"""Tries a call on the endpoints of its upstream: slots, deadline, balancer, retries where repeating is safe."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from toolway.catalog.catalog import Catalog
from toolway.catalog.snapshot import UpstreamView
from toolway.errors import SessionLost, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from toolway.gateway.converse import Conversation
from toolway.gateway.exchange import Exchange
from toolway.gateway.legs import HeldLeg, Legs
from toolway.gateway.limits import Slots
from toolway.gateway.outgoing import annotations_allow_repeat, header_name, meta_for, parameter_headers
from toolway.gateway.parked import Parking
from toolway.gateway.progress import AttemptPeer
from toolway.hookspecs.routing import (
    Attempt,
    Balancer,
    Call,
    Endpoint,
    Policy,
    PolicyAdjuster,
    Reply,
    UpstreamRequest,
)
from toolway.plugin.kernel import Clock

SAFE_METHODS = frozenset({"prompts/get", "resources/read", "completion/complete"})


class Attempts:
    """The innermost link of every call's chain."""

    def __init__(
        self,
        catalog: Catalog,
        legs: Legs,
        parking: Parking,
        balancer: Balancer,
        policies: Sequence[PolicyAdjuster],
        clock: Clock,
        identity: Mapping[str, object],
    ) -> None:
        self._catalog = catalog
        self._legs = legs
        self._parking = parking
        self._balancer = balancer
        self._policies = tuple(policies)
        self._clock = clock
        self._identity = identity
        self._slots: dict[str, Slots] = {}
        self._serial = 0

    async def run(self, call: Call) -> Reply:
        """Try until a reply, a failure that must not be repeated, or the deadline."""
        exchange = call.peer
        if call.target is None or not isinstance(exchange, Exchange):
            raise TypeError(f"{call.method} reached the attempt loop without a target, or with another peer")
        view = self._catalog.snapshot.upstreams[call.target.upstream]
        policy, name = self._policy(view, call), call.target.upstream
        exchange.clock.hold(await self._slots.setdefault(name, Slots()).enter(policy, name))
        call.deadline = self._clock.monotonic() + policy.total
        try:
            async with asyncio.timeout(policy.total) as timer:
                exchange.clock.started(timer)
                return await self._try(call, exchange, view, policy)
        except TimeoutError:
            what = f"did not answer within {policy.total:g} s; the outcome is unknown"
            raise UpstreamTimeout(f"upstream {name!r} {what}") from None
        finally:
            exchange.clock.started(None)

    async def _try(self, call: Call, exchange: Exchange, view: UpstreamView, policy: Policy) -> Reply:
        tried: list[Endpoint] = []
        while True:
            endpoint = self._pick(view, exchange, call, tried)
            attempt = Attempt(call, view.upstream, endpoint, number=len(tried) + 1)
            started = self._clock.monotonic()
            try:
                return await self._once(call, exchange, self._legs.get(view, endpoint, exchange), view, policy)
            except UpstreamError as error:
                attempt.error = error
                tried.append(endpoint)
                if len(tried) > policy.retries or not _may_repeat(call, error):
                    raise
            finally:
                attempt.seconds = self._clock.monotonic() - started
                self._balancer.done(attempt)

    async def _once(self, call: Call, exchange: Exchange, held: HeldLeg, view: UpstreamView, policy: Policy) -> Reply:
        server = self._catalog.snapshot.servers.get(call.server)
        shared = server is not None and server.settings.access == "public"
        with held.used(self._clock):
            try:
                if view.discovery is not None and "logging" in view.discovery.capabilities:
                    await held.set_level(call.client.log_level)
                conversation = Conversation(call, exchange, self._parking, held.era, self._identity, shared)
                return await conversation.run(lambda params: self._send(call, exchange, held, policy, params))
            except SessionLost:
                self._legs.discard(held)
                raise

    async def _send(
        self, call: Call, exchange: Exchange, held: HeldLeg, policy: Policy, params: dict[str, Raw]
    ) -> Reply:
        token = call.meta.get("progressToken")
        meta = meta_for(call, held.era, self._identity)
        if token is not None:
            self._serial += 1
            meta["progressToken"] = Raw(msgspec.json.encode(f"tw-{self._serial}"))
        headers = {**call.outgoing_headers, **(parameter_headers(call) if held.era == "modern" else {})}
        peer, name = AttemptPeer(exchange, held, token), header_name(call)
        request = UpstreamRequest(call.method, params, meta, peer, math.inf, name, headers, policy.first_byte)
        return await held.connection.request(request)

    def _pick(self, view: UpstreamView, exchange: Exchange, call: Call, tried: list[Endpoint]) -> Endpoint:
        """The endpoint of the caller's legacy conversation, else one that was not tried yet."""
        bound = self._legs.bound_endpoint(view, exchange)
        if bound is not None and bound not in tried:
            return bound
        endpoints = view.upstream.endpoints
        fresh = [endpoint for endpoint in endpoints if endpoint not in tried] or endpoints
        if not fresh:
            raise UpstreamUnreachable(f"upstream {view.upstream.name!r} has no endpoints; add one")
        return fresh[0] if len(fresh) == 1 else self._balancer.pick(fresh, call)

    def _policy(self, view: UpstreamView, call: Call) -> Policy:
        policy = Policy()
        for link in self._policies:
            policy = link.adjust(policy, view.upstream, call)
        return policy


def _may_repeat(call: Call, error: UpstreamError) -> bool:
    if not error.sent or isinstance(error, SessionLost):
        return True
    return call.method in SAFE_METHODS or annotations_allow_repeat(call)
