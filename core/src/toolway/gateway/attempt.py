"""Tries a call on the endpoints of its upstream: slots, deadline, balancer, retries, questions of the upstream."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NoReturn

import msgspec
from msgspec import UNSET, Raw

from toolway.catalog.catalog import Catalog
from toolway.edge.watched import Methods
from toolway.errors import (
    CircuitOpen,
    Overloaded,
    SessionLost,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from toolway.gateway import translate
from toolway.gateway.exchange import Exchange, Pausable
from toolway.gateway.hedging import Try, first_answer
from toolway.gateway.legs import HeldLeg, LegKey, Legs
from toolway.gateway.limits import Queues
from toolway.gateway.parked import InputRequest, InputRequired, Parking, input_required
from toolway.gateway.watching import ANSWERED
from toolway.hookspecs import attempts
from toolway.hookspecs.attempts import Attempt, Policy
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.routing import Call, Endpoint, Peer, Reply, Target, Upstream, UpstreamRequest
from toolway.mcp.clients import check_capability, passes_level
from toolway.mcp.headers import mcp_param_headers
from toolway.mcp.messages import decoded
from toolway.plugin.kernel import Clock

ROUNDS = 16
LONGEST_PAUSE = 60.0
SAFE_METHODS = frozenset({"prompts/get", "resources/read", "completion/complete"})
POLICY = Policy()


class AttemptPeer(msgspec.Struct, eq=False):
    """The peer that an upstream sees during one attempt; what does not belong to the call goes to the leg's."""

    exchange: Exchange
    leg: Peer
    token: Raw | None

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass on what belongs to this call; modern clients that named no level want no log messages."""
        if method == "notifications/progress":
            progress = decoded(params, "progress", float)
            if self.token is not None and progress is not None and progress > self.exchange.progress:
                self.exchange.progress = progress
                self.exchange.notify(method, {**params, "progressToken": self.token})
        elif method == "notifications/message":
            client = self.exchange.client
            if (client.era == "legacy" or client.log_level is not None) and passes_level(params, client.log_level):
                self.exchange.notify(method, params)
        else:
            self.leg.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Ask the client of this call."""
        return await self.exchange.ask(method, params)


class Attempts(msgspec.Struct, eq=False):
    """The innermost link of every call's chain."""

    catalog: Catalog
    legs: Legs
    parking: Parking
    balancer: attempts.Balancer
    policies: tuple[attempts.PolicyAdjuster, ...]
    filters: tuple[attempts.EndpointFilter, ...]
    watchers: tuple[Methods, Methods]
    clock: Clock
    queues: Queues = msgspec.field(default_factory=Queues)
    serial: int = 0

    async def run(self, call: Call) -> Reply:
        """Try until a reply, a failure that must not be repeated, or the deadline."""
        exchange, target = call.peer, call.target
        if target is None or not isinstance(exchange, Exchange):
            raise TypeError(f"{call.method} reached the attempt loop without a target, or with another peer")
        view, policy = self.catalog.snapshot.upstreams.get(target.upstream) or _gone(target), POLICY
        for link in self.policies:
            policy = link.adjust(policy, view.upstream, call)
        clock, queues, balancer, now, sent = exchange.clock, self.queues, self.balancer, self.clock.monotonic, False
        tried: list[Endpoint] = []
        if not queues.take(policy, target.upstream):
            await queues.enter(policy, target.upstream)
        clock.slots.append((queues, target.upstream))
        call.deadline = now() + policy.total
        started = now() - clock.waited()
        clock.begin(exchange.task, monotonic() + policy.total)
        try:
            while True:
                view = self.catalog.snapshot.upstreams.get(target.upstream) or _gone(target)  # as it is after a wait
                key, endpoints = self.legs.key(view, exchange), view.upstream.endpoints
                is_modern = key[1] == "modern"
                has_choice = is_modern and not tried and len(endpoints) > 1 and not self.filters
                endpoint = balancer.pick(endpoints, call) if has_choice else self._pick(view.upstream, call, key, tried)
                attempt = Attempt(call, view.upstream, endpoint, len(tried) + 1)
                held = self.legs.get(key, view, endpoint, exchange)
                held.users += 1
                answered = False
                try:
                    request = self._begun(attempt, exchange, held, policy)
                    if not is_modern and view.discovery is not None and "logging" in view.discovery.capabilities:
                        await held.set_level(call.client.log_level)
                    if policy.hedge_after and is_modern and not tried and self._may_hedge(call, endpoints):
                        won = await self._hedged(Try(attempt, held, request, started), policy, view, exchange, tried)
                        attempt, held, request, started = won.attempt, won.held, won.request, won.started
                    else:
                        attempt.reply = await held.connection.request(request)
                    reply = attempt.reply or Reply()
                    is_plain = is_modern and reply.kind == "complete" and call.method != "resources/read"
                    if not is_plain or reply.fault is not None:
                        answered = True
                        reply = await self._converse(reply, request, call, exchange, held)
                    return reply
                except UpstreamError as error:
                    tried.append(endpoint)
                    error.sent = error.sent or answered
                    attempt.is_repeated = self._may_repeat(attempt, held, error, policy)
                    error.sent = sent = sent or error.sent  # of all attempts together, for whoever has to know
                finally:
                    self._ended(attempt, held, started, clock, policy)
                if attempt.error is not None and not attempt.is_repeated:
                    raise attempt.error
                await self._pause(attempt, policy, tried)
                started = now() - clock.waited()
        except asyncio.CancelledError:
            if not clock.stop():
                raise
            what = f"did not answer within {policy.total:g} s; the outcome is unknown"
            raise UpstreamTimeout(f"upstream {target.upstream!r} {what}") from None
        finally:
            clock.stop()

    async def _pause(self, failed: Attempt, policy: Policy, tried: Sequence[Endpoint]) -> None:
        """Before the call is repeated; where it was tried already, the time that the upstream named is kept."""
        wait = random.uniform(0, policy.backoff * 2 ** (len(tried) - 1)) if policy.backoff else 0.0
        if len(tried) >= len(failed.upstream.endpoints) and isinstance(failed.error, UpstreamError):
            wait = max(wait, min(failed.error.details.get("retry_after", 0.0), LONGEST_PAUSE))
            if self.clock.monotonic() + wait > failed.call.deadline:
                raise failed.error
        await asyncio.sleep(wait)

    def _may_hedge(self, call: Call, endpoints: Sequence[Endpoint]) -> bool:
        """Whether a second try may run beside the first: it changes nothing, and has somewhere else to go."""
        return len(endpoints) > 1 and (call.method in SAFE_METHODS or translate.annotations_allow_repeat(call))

    async def _hedged(
        self, first: Try, policy: Policy, view: UpstreamView, exchange: Exchange, tried: list[Endpoint]
    ) -> Try:
        """Whichever of up to two tries is answered first; a second one has a slot of its own, if one is free."""
        name, clock = view.upstream.name, exchange.clock

        def ended(each: Try) -> None:
            self._ended(each.attempt, each.held, each.started, clock, policy)

        def begin_second() -> Try | None:
            if not self.queues.take(policy, name):
                return None
            clock.slots.append((self.queues, name))
            second = self._second(first, policy, view, exchange)
            if second is None:
                clock.slots.pop()
                self.queues.leave(name)
            else:
                tried.append(second.attempt.endpoint)
            return second

        return await first_answer(first, policy.hedge_after, begin_second, ended)

    def _second(self, first: Try, policy: Policy, view: UpstreamView, exchange: Exchange) -> Try | None:
        """A try on an endpoint that has not got the call, if there is one that may get it now."""
        call, key, clock = first.attempt.call, first.held.key, exchange.clock
        try:
            endpoint = self._pick(view.upstream, call, key, [first.attempt.endpoint])
            attempt = Attempt(call, view.upstream, endpoint, 2, is_hedge=True)
            held = self.legs.get(key, view, endpoint, exchange)
        except (UpstreamError, Overloaded):
            return None
        held.users += 1
        second = Try(attempt, held, first.request, self.clock.monotonic() - clock.waited())
        try:
            second.request = self._begun(attempt, exchange, held, policy)
        except UpstreamError:  # as if cancelled: that it was not wanted says nothing about the endpoint
            self._ended(attempt, held, second.started, clock, policy)
            return None
        return second

    def _may_repeat(self, attempt: Attempt, held: HeldLeg, error: UpstreamError, policy: Policy) -> bool:
        """Whether a failed attempt may be followed by another one."""
        attempt.error = error
        if isinstance(error, SessionLost):
            if not held.wants:  # else it begins anew by itself, and subscribes again
                self.legs.discard(held)
        elif error.sent and attempt.call.method not in SAFE_METHODS:
            return attempt.number <= policy.retries and translate.annotations_allow_repeat(attempt.call)
        return attempt.number <= policy.retries

    def _ended(self, attempt: Attempt, held: HeldLeg, started: float, clock: Pausable, policy: Policy) -> None:
        """Tell what learns from attempts. One that the gateway's own deadline cut was not cancelled by anybody."""
        if clock.expired and not policy.is_hurried and attempt.error is None and attempt.reply is None:
            attempt.error = UpstreamTimeout(f"upstream {attempt.upstream.name!r} did not answer before the deadline")
        now = held.last_used = attempt.ended = self.clock.monotonic()
        held.users -= 1
        attempt.seconds = now - started - clock.waited()
        self.balancer.done(attempt)
        for done in self.watchers[1]:
            done(attempt)
        if attempt.call.attempts is not None:
            attempt.call.attempts.append(attempt)
            if attempt.reply is not None and attempt.reply.fault is None:
                attempt.reply = ANSWERED

    def _pick(self, upstream: Upstream, call: Call, key: LegKey, tried: list[Endpoint]) -> Endpoint:
        """One that was not tried before, if any; a legacy leg stays where it is."""
        bound, endpoints = self.legs.bound_endpoint(key), upstream.endpoints
        if bound is not None and bound not in tried:
            return self._narrowed(upstream, (bound,), call)[0]
        left: Sequence[Endpoint] = [each for each in endpoints if each not in tried] if tried else endpoints
        if not endpoints:
            raise UpstreamUnreachable(f"upstream {key[0]!r} has no endpoints; add one")
        left = self._narrowed(upstream, left or endpoints, call)
        return left[0] if len(left) == 1 else self.balancer.pick(left, call)

    def _narrowed(self, upstream: Upstream, endpoints: Sequence[Endpoint], call: Call) -> Sequence[Endpoint]:
        """What the filters leave; raises CircuitOpen."""
        for link in self.filters:
            narrowed = link.narrow(upstream, endpoints, call)
            if not narrowed.endpoints:
                what = f"upstream {upstream.name!r} is not tried now: {narrowed.refused}"
                raise CircuitOpen(what, retry_after=narrowed.retry_after)
            endpoints = narrowed.endpoints
        return endpoints

    async def _converse(
        self, reply: Reply, request: UpstreamRequest, call: Call, exchange: Exchange, held: HeldLeg
    ) -> Reply:
        """Have what the upstream asks answered until it is done; raises UpstreamError and ClientCannot."""
        for _ in range(ROUNDS):
            if reply.kind == "complete":
                return reply if call.client.era == "legacy" else self._as_modern(reply, call, exchange, held)
            if reply.kind != "input_required" or reply.result is None:
                raise UpstreamProtocol(f"the upstream answered with the unknown resultType {reply.kind!r}")
            wanted = translate.read(reply.result, InputRequired)
            requests = {} if wanted.input_requests is UNSET else wanted.input_requests
            asked = {key: translate.read(raw, InputRequest) for key, raw in requests.items()}
            for each in asked.values():
                check_capability(call.client, each.method, each.params)
            if call.client.era == "modern":
                inner = None if wanted.request_state is UNSET else bytes(wanted.request_state)
                return input_required(requests, self.parking.seal(exchange, upstream=held.upstream.name, inner=inner))
            params = {key: value for key, value in request.params.items() if key != "requestState"}
            params["inputResponses"] = Raw(msgspec.json.encode(await _answers(exchange, asked)))
            if wanted.request_state is not UNSET:
                params["requestState"] = wanted.request_state
            request.params = params
            reply = await held.connection.request(request)
        raise UpstreamProtocol(f"the upstream asked for input more than {ROUNDS} times")

    def _begun(self, attempt: Attempt, exchange: Exchange, held: HeldLeg, policy: Policy) -> UpstreamRequest:
        """Tell what sees every attempt, which may refuse it; the request then has what they want to send along."""
        for begin in self.watchers[0]:
            begin(attempt)
        call = attempt.call
        token, target, name = call.meta.get("progressToken"), call.target, None
        is_modern, headers = held.era == "modern", call.outgoing_headers
        if call.served is not None and call.served.request_id:
            headers["x-request-id"] = call.served.request_id
        meta = exchange.introduction if is_modern else {}
        if call.outgoing_meta or not call.meta.keys() <= translate.NOT_PASSED:
            meta = translate.outgoing_meta(call, meta)
        if token is not None:
            self.serial += 1
            meta = {**meta, "progressToken": Raw(b'"tw-%d"' % self.serial)}
        if target is not None and call.method != "completion/complete":
            name = target.name
            if is_modern and target.item is not None and (wanted := translate.tool_facts(target.item.raw)[0]):
                headers = {**headers, **mcp_param_headers(wanted, call.arguments())}
        peer = AttemptPeer(exchange, held, token)
        return UpstreamRequest(call.method, call.params, meta, peer, math.inf, name, headers, policy.first_byte)

    def _as_modern(self, reply: Reply, call: Call, exchange: Exchange, held: HeldLeg) -> Reply:
        if reply.fault is not None:
            if (requests := translate.url_questions(reply.fault, exchange.client)) is not None:
                return input_required(requests, self.parking.seal(exchange))
            reply.fault = translate.modern_fault(reply.fault)
        elif reply.result is not None and (held.era == "legacy" or call.method == "resources/read"):
            server = self.catalog.snapshot.servers.get(call.server)
            shared = server is not None and server.settings.access == "public"
            reply.result = translate.modern_result(reply.result, call.method, held.era, shared=shared)
        return reply


def _gone(target: Target) -> NoReturn:
    raise UpstreamUnreachable(f"upstream {target.upstream!r} was removed while the call waited; list the items again")


async def _answers(exchange: Exchange, asked: Mapping[str, InputRequest]) -> dict[str, Raw]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {key: group.create_task(exchange.ask(each.method, each.params)) for key, each in asked.items()}
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return {key: task.result() for key, task in tasks.items()}
