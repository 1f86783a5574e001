"""The balancer: picks an endpoint for each attempt and learns from how attempts end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from random import Random

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.catalog import Catalog, CatalogSnapshot
from toolway.hookspecs.routing import Call, Endpoint, Upstream
from toolway.plugin import CircuitOpen, Clock, SessionLost, UpstreamError, UpstreamUnauthorized
from toolway_balancer.pool import Fell, Pool
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings
from toolway_balancer.strategies import strategy_of

log = logging.getLogger(__name__)

NEUTRAL = (CircuitOpen, SessionLost, UpstreamUnauthorized)
"""Errors that say nothing about the health of the endpoint."""

Memory = dict[tuple[str, str], Replica]
"""What is known of endpoints, by upstream and id; as many as the catalog has."""


class AdaptiveBalancer:
    """Both the balancer and the watcher of attempts, so that calls in flight are counted wherever they go.

    Endpoints that are added or removed at run time are so in the next snapshot of the catalog, which it follows.
    """

    name = "balancer"

    def __init__(self, catalog: Catalog, clock: Clock, settings: BalancerSettings, random: Random) -> None:
        self.memory: Memory = {}
        self.fell: Fell = lambda upstream, endpoint: None
        self._catalog = catalog
        self._now = clock.monotonic
        self._settings = settings
        self._random = random
        self._pools: dict[str, Pool] = {}
        self._followed: CatalogSnapshot | None = None
        self._flights: dict[Attempt, Replica] = {}

    @property
    def pools(self) -> Mapping[str, Pool]:
        """Those of the present catalog, by upstream."""
        snapshot = self._catalog.snapshot
        if snapshot is not self._followed:
            self._follow(snapshot)
        return self._pools

    def pick(self, endpoints: Sequence[Endpoint], call: Call) -> Endpoint:
        """See `Balancer`."""
        pool = self.pools.get(call.target.upstream) if call.target is not None else None
        replicas = pool.among(endpoints) if pool is not None else ()
        if pool is None or not replicas:  # the upstream changed while the call was under way
            return endpoints[int(self._random.random() * len(endpoints))]
        return (replicas[0] if len(replicas) == 1 else pool.strategy.choose(replicas, call, self._now())).endpoint

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        pool = self.pools.get(attempt.upstream.name)
        replica = pool.replicas.get(attempt.endpoint.id) if pool is not None else None
        if replica is not None:
            self._flights[attempt] = replica
            replica.begin(self._now())

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`; as a balancer it hears of attempts first, and then once more."""
        replica = self._flights.pop(attempt, None)
        if replica is None:
            return
        now, error = self._now(), attempt.error
        replica.end(now)
        if attempt.reply is not None and error is None:
            if attempt.reply.fault is None:
                replica.answered(attempt.seconds, now)
            else:  # a quick refusal does not say how quick an answer would be
                replica.waited(attempt.seconds, now)
                replica.fault_run = 0
        elif isinstance(error, NEUTRAL):
            return
        else:
            replica.waited(attempt.seconds, now)
            pool = self.pools.get(attempt.upstream.name)
            if pool is not None and isinstance(error, UpstreamError) and not _is_refusal(error):
                pool.failed(replica, error.message, now)

    def adopt(self, memory: Memory) -> None:
        """Go on with what another gateway of this process, from before a reload, knows."""
        self.memory = {**self.memory, **memory}
        self._pools, self._followed = {}, None

    def _follow(self, snapshot: CatalogSnapshot) -> None:
        """Have a pool for each upstream, and nothing of those that are gone."""
        pools = {name: self._pool(view.upstream) for name, view in snapshot.upstreams.items()}
        self.memory = {(name, each): known for name, pool in pools.items() for each, known in pool.replicas.items()}
        self._pools, self._followed = pools, snapshot

    def _pool(self, upstream: Upstream) -> Pool:
        old = self._pools.get(upstream.name)
        if old is not None and old.upstream is upstream:
            return old
        now, settings, weights = self._now(), self._settings, self._settings.rule(upstream.name).weights
        ids = [each.id for each in upstream.endpoints]
        for absent in sorted(weights.keys() - set(ids)):
            what = "plugins.balancer.upstreams.%s.weights names %s, which is no endpoint of it"
            log.warning(what, upstream.name, absent)
        replicas = {each.id: self._replica(upstream.name, each, now) for each in upstream.endpoints}
        if old is not None:
            for each in replicas.keys() - old.replicas.keys():
                replicas[each].began = now
        for each, replica in replicas.items():
            replica.weight = weights.get(each, 1.0)
            replica.decay, replica.slow_start = settings.decay, settings.slow_start
        pool = Pool(upstream, replicas, strategy_of(settings, upstream.name, self._random), settings)
        pool.fell = self.fell
        return pool

    def _replica(self, upstream: str, endpoint: Endpoint, now: float) -> Replica:
        if (known := self.memory.get((upstream, endpoint.id))) is not None:
            return known
        settings = self._settings
        due = now + self._random.random() * settings.health_interval
        return Replica(endpoint, settings.default_rtt, settings.decay, settings.slow_start, now, due=due)


def _is_refusal(error: UpstreamError) -> bool:
    """Whether the endpoint answered with a status that blames the request (4xx)."""
    return 400 <= int(error.details.get("upstream_status", 0)) < 500
