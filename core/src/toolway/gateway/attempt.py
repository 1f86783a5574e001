"""Tries a call on the endpoints of its upstream: slots, deadline, balancer, retries where repeating is safe."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from toolway.errors import Overloaded, SessionLost, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from toolway.gateway.converse import Conversation
from toolway.gateway.outgoing import annotations_allow_repeat, header_name, meta_for, parameter_headers
from toolway.gateway.progress import AttemptPeer
from toolway.hookspecs.routing import (
    Attempt,
    Balancer,
    Call,
    Endpoint,
    Era,
    Policy,
    PolicyAdjuster,
    Reply,
    Upstream,
    UpstreamRequest,
)

if TYPE_CHECKING:
    from toolway.catalog.catalog import Catalog
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.legs import HeldLeg, Legs
    from toolway.gateway.parked import Parking
    from toolway.plugin import Clock

SAFE_METHODS = frozenset({"prompts/get", "resources/read", "completion/complete"})


class Slots:
    """The bound on calls in flight to one upstream, with a short queue."""

    __slots__ = ("_waiting", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, policy: Policy, upstream: str) -> None:
        """Take a slot, waiting at most `queue_wait`; raises Overloaded."""
        if self.in_flight < policy.in_flight:
            self.in_flight += 1
            return
        if len(self._waiting) >= policy.queue:
            raise Overloaded(f"upstream {upstream!r} is busy: {policy.in_flight} calls in flight and the queue is full")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, policy.queue_wait)
        except TimeoutError:
            raise Overloaded(
                f"upstream {upstream!r} is busy: no slot was free within {policy.queue_wait:g} s"
            ) from None
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def leave(self) -> None:
        """Give the slot to the next one that waits, or back."""
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1

    def rejoin(self) -> None:
        """A paused call goes on; it never waits for a slot."""
        self.in_flight += 1


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

    async def run(self, call: Call, exchange: Exchange) -> Reply:
        """Try until a reply, a failure that must not be repeated, or the deadline."""
        if call.target is None:
            raise TypeError(f"{call.method} reached the attempt loop without a target")
        view = self._catalog.snapshot.upstreams[call.target.upstream]
        upstream = view.upstream
        policy = self._policy(upstream, call)
        slots = self._slots.setdefault(upstream.name, Slots())
        await slots.enter(policy, upstream.name)
        exchange.clock.on_pause, exchange.clock.on_resume = slots.leave, slots.rejoin
        try:
            async with asyncio.timeout(policy.total) as timer:
                exchange.clock.started(timer)
                return await self._try(call, exchange, upstream, self._era(view.discovery, call), policy)
        except TimeoutError:
            raise UpstreamTimeout(
                f"upstream {upstream.name!r} did not answer within {policy.total:g} s; the outcome is unknown"
            ) from None
        finally:
            exchange.clock.started(None)
            slots.leave()

    async def _try(self, call: Call, exchange: Exchange, upstream: Upstream, era: Era, policy: Policy) -> Reply:
        tried: list[Endpoint] = []
        while True:
            endpoint = self._pick(upstream, era, call, tried)
            attempt = Attempt(call, upstream, endpoint, number=len(tried) + 1)
            started = self._clock.monotonic()
            try:
                return await self._once(call, exchange, upstream, endpoint, era, policy)
            except UpstreamError as error:
                attempt.error = error
                tried.append(endpoint)
                if len(tried) > policy.retries or not _may_repeat(call, error):
                    raise
            finally:
                attempt.seconds = self._clock.monotonic() - started
                self._balancer.done(attempt)

    async def _once(
        self, call: Call, exchange: Exchange, upstream: Upstream, endpoint: Endpoint, era: Era, policy: Policy
    ) -> Reply:
        held = self._legs.get(upstream, endpoint, era, call.principal, call.client, exchange.session)
        held.users += 1
        try:
            if self._logs(upstream):
                await held.set_level(call.client.log_level)
            conversation = Conversation(call, exchange, self._parking, era)
            return await conversation.run(lambda params: self._send(call, exchange, held, era, policy, params))
        except SessionLost:
            self._legs.discard(held)
            raise
        finally:
            held.users -= 1
            held.last_used = self._clock.monotonic()

    async def _send(
        self, call: Call, exchange: Exchange, held: HeldLeg, era: Era, policy: Policy, params: dict[str, Raw]
    ) -> Reply:
        token = call.meta.get("progressToken")
        meta = meta_for(call, era, self._identity)
        if token is not None:
            self._serial += 1
            meta["progressToken"] = Raw(msgspec.json.encode(f"tw-{self._serial}"))
        peer = AttemptPeer(
            exchange,
            held,
            token,
            log_level=call.client.log_level,
            silent=call.client.era == "modern" and call.client.log_level is None,
        )
        headers = dict(call.outgoing_headers)
        if era == "modern":
            headers.update(parameter_headers(call))
        request = UpstreamRequest(
            call.method, params, meta, peer, math.inf, header_name(call), headers, policy.first_byte
        )
        return await held.connection.request(request)

    def _pick(self, upstream: Upstream, era: Era, call: Call, tried: list[Endpoint]) -> Endpoint:
        bound = self._legs.bound_endpoint(upstream, era, call)
        if bound is not None and bound not in tried:
            return bound
        fresh = [endpoint for endpoint in upstream.endpoints if endpoint not in tried] or list(upstream.endpoints)
        if not fresh:
            raise UpstreamUnreachable(f"upstream {upstream.name!r} has no endpoints; add one")
        return fresh[0] if len(fresh) == 1 else self._balancer.pick(fresh, call)

    def _policy(self, upstream: Upstream, call: Call) -> Policy:
        policy = Policy()
        for link in self._policies:
            policy = link.adjust(policy, upstream, call)
        return policy

    def _logs(self, upstream: Upstream) -> bool:
        discovery = self._catalog.snapshot.upstreams[upstream.name].discovery
        return discovery is not None and "logging" in discovery.capabilities

    @staticmethod
    def _era(discovery: object, call: Call) -> Era:
        eras = getattr(discovery, "eras", None)
        if eras is None or (eras.modern and eras.legacy):
            return call.client.era
        return "modern" if eras.modern else "legacy"


def _may_repeat(call: Call, error: UpstreamError) -> bool:
    if not error.sent or isinstance(error, SessionLost):
        return True
    return call.method in SAFE_METHODS or annotations_allow_repeat(call)
