"""The endpoints of one upstream: which of them calls may go to, and how one is chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from toolway.hookspecs.routing import Endpoint, Upstream
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings
from toolway_balancer.strategies import Strategy

log = logging.getLogger(__name__)

Fell = Callable[[str, str], None]


class Pool:
    """Judges the health of the endpoints of `upstream`; made anew when the upstream changed.

    `preferred` are those that calls go to: without the unhealthy ones and those of weight 0, unless too few are left.
    `fell` hears the upstream and the endpoint that became unhealthy.
    """

    def __init__(
        self, upstream: Upstream, replicas: Mapping[str, Replica], strategy: Strategy, settings: BalancerSettings
    ) -> None:
        self.upstream = upstream
        self.replicas = replicas
        self.strategy = strategy
        self.is_in_panic = False
        self.fell: Fell = lambda upstream, endpoint: None
        self.preferred: Sequence[Replica] = ()
        self._settings = settings
        if not self.is_judged:
            for replica in replicas.values():
                replica.is_healthy, replica.reason, replica.good, replica.bad = True, "", 0, 0
        self._sort()

    @property
    def is_judged(self) -> bool:
        """Whether health matters: not where there is no other endpoint."""
        return len(self.replicas) > 1

    def among(self, endpoints: Sequence[Endpoint]) -> Sequence[Replica]:
        """Those of `endpoints` that a call may go to; empty if none of them is known."""
        if endpoints is self.upstream.endpoints:
            return self.preferred
        given = [known for each in endpoints if (known := self.replicas.get(each.id)) is not None]
        return [each for each in given if each in self.preferred] or given

    def checked(self, replica: Replica, problem: str, now: float) -> None:
        """A health check found a problem, or (empty) none."""
        if not problem:
            replica.well(now)
            replica.good, replica.bad = replica.good + 1, 0
            if not replica.is_healthy and replica.good >= self._settings.healthy_after:
                replica.began, replica.fault_run = now, 0
                self._turn(replica, now, is_healthy=True, reason=f"{replica.good} good health checks in a row")
            return
        replica.good, replica.bad = 0, replica.bad + 1
        if replica.is_healthy and replica.bad >= self._settings.unhealthy_after:
            self._turn(replica, now, is_healthy=False, reason=f"{replica.bad} bad health checks in a row: {problem}")

    def failed(self, replica: Replica, problem: str, now: float) -> None:
        """An attempt ended with a fault; one too many in a row makes it unhealthy, and it is checked at once."""
        replica.failed(now)
        if replica.is_healthy and self.is_judged and replica.fault_run >= self._settings.fault_limit:
            replica.good, replica.due = 0, now
            reason = f"{replica.fault_run} calls in a row failed: {problem}"
            self._turn(replica, now, is_healthy=False, reason=reason)

    def _turn(self, replica: Replica, now: float, *, is_healthy: bool, reason: str) -> None:
        replica.is_healthy, replica.reason, replica.changed = is_healthy, reason, now
        what = "healthy" if is_healthy else "unhealthy"
        if not is_healthy:
            self.fell(self.upstream.name, replica.endpoint.id)
        log.info("endpoint %s of upstream %s is %s: %s", replica.endpoint.id, self.upstream.name, what, reason)
        self._sort()

    def _sort(self) -> None:
        """Find out again which ones calls go to."""
        every = list(self.replicas.values())
        healthy = [each for each in every if each.is_healthy]
        was_in_panic = self.is_in_panic
        self.is_in_panic = len(every) - len(healthy) > self._settings.panic * len(every)
        if self.is_in_panic is not was_in_panic:
            kept = "all are used" if self.is_in_panic else "unhealthy ones are avoided again"
            log.info(
                "upstream %s has %d of %d healthy endpoints: %s", self.upstream.name, len(healthy), len(every), kept
            )
        usable = every if self.is_in_panic or not healthy else healthy
        self.preferred = [each for each in usable if each.weight] or usable
