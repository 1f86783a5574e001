"""Calls on simulated endpoints: the real balancer on a clock that jumps from one event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, cast

import msgspec

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.auth import ANONYMOUS, Principal
from toolway.hookspecs.catalog import Catalog, UpstreamView
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Call, ClientProfile, Endpoint, Peer, Reply, Target, Upstream
from toolway.plugin import UpstreamUnreachable
from toolway_balancer.balancer import AdaptiveBalancer
from toolway_balancer.pool import Pool
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings
from toolway_testing.clock import MovedClock

NAME = "many"
Latency = Callable[[Random], float]


class Snapshot(msgspec.Struct, eq=False):
    """As much of a catalog's snapshot as balancing looks at."""

    upstreams: dict[str, UpstreamView]


class Declared(msgspec.Struct, eq=False):
    """A catalog of one upstream, whose endpoints a test changes."""

    snapshot: Snapshot

    @classmethod
    def of(cls, *ids: str) -> Declared:
        return cls(snapshot_of(ids))


def snapshot_of(ids: Sequence[str]) -> Snapshot:
    settings = UpstreamSettings(name=NAME, kind="http")
    upstream = Upstream(NAME, "http", settings, tuple(Endpoint(each) for each in ids))
    return Snapshot({NAME: UpstreamView(upstream)})


def principal(name: str) -> Principal:
    return Principal(id=f"user:{name}", kind="user")


def call_of(who: Principal = ANONYMOUS, **fields: Any) -> Call:
    peer = cast(Peer, None)
    target = Target(NAME, "tool")
    meta = fields.pop("meta", {})
    return Call("tools/call", {}, meta, "all", who, ClientProfile("2026-07-28"), peer, 0.0, target=target, **fields)


class World:
    """A balancer with its catalog, clock and random source, all of them in the test's hand."""

    def __init__(self, *ids: str, seed: int = 1, **settings: Any) -> None:
        self.clock = MovedClock()
        self.catalog = Declared.of(*ids)
        self.settings = BalancerSettings.model_validate(settings)
        self.random = Random(seed)
        catalog = cast(Catalog, self.catalog)
        self.balancer = AdaptiveBalancer(catalog, self.clock, self.settings, self.random)

    @property
    def pool(self) -> Pool:
        return self.balancer.pools[NAME]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self.catalog.snapshot.upstreams[NAME].upstream.endpoints

    def replica(self, name: str) -> Replica:
        return self.pool.replicas[name]

    def declare(self, *ids: str) -> None:
        """Change the endpoints of the upstream."""
        self.catalog.snapshot = snapshot_of(ids)

    def pick(self, call: Call | None = None, endpoints: Sequence[Endpoint] | None = None) -> str:
        return self.balancer.pick(self.endpoints if endpoints is None else endpoints, call or call_of()).id

    def begin(self, name: str, call: Call | None = None) -> Attempt:
        upstream = self.catalog.snapshot.upstreams[NAME].upstream
        attempt = Attempt(call or call_of(), upstream, Endpoint(name))
        self.balancer.begin(attempt)
        return attempt

    def end(self, attempt: Attempt, seconds: float, *, error: Exception | None = None, reply: bool = True) -> None:
        attempt.seconds, attempt.error = seconds, error
        attempt.reply = Reply(msgspec.Raw(b"{}")) if reply and error is None else None
        self.balancer.done(attempt)
        self.balancer.done(attempt)  # once as balancer, once as watcher

    def answer(self, name: str, seconds: float) -> None:
        """One call there, from begin to end."""
        attempt = self.begin(name)
        self.clock.time += seconds
        self.end(attempt, seconds)

    def fault(self, name: str, error: Exception | None = None) -> None:
        """One call there that fails at once."""
        self.end(self.begin(name), 0.0, error=error or UpstreamUnreachable("nobody listens"))

    def traffic(
        self, latencies: Mapping[str, Latency], *, clients: int, seconds: float, pause: float = 0.0
    ) -> list[tuple[str, float]]:
        """What so many clients that ask one call after the other see: endpoint and seconds of each call."""
        end = self.clock.time + seconds
        events: list[tuple[float, int, Attempt | None]] = [(self.clock.time, each, None) for each in range(clients)]
        seen: list[tuple[str, float]] = []
        while events:
            self.clock.time, client, attempt = heapq.heappop(events)
            if attempt is not None:
                self.end(attempt, attempt.seconds)
                seen.append((attempt.endpoint.id, attempt.seconds))
                heapq.heappush(events, (self.clock.time + pause, client, None))
            elif self.clock.time < end:
                attempt = self.begin(self.pick())
                attempt.seconds = latencies[attempt.endpoint.id](self.random)
                heapq.heappush(events, (self.clock.time + attempt.seconds, client, attempt))
        return seen


def around(mean: float) -> Latency:
    """Most answers near the mean, a few twice as late."""
    return lambda random: mean * (0.8 + 0.2 * min(random.expovariate(1.0), 6.0))


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
