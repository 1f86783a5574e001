"""The state of every endpoint, and what follows from it: which of them may be tried."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from toolway.hookspecs.attempts import Attempt, Narrowed
from toolway.hookspecs.catalog import CatalogSnapshot
from toolway.hookspecs.routing import Call, Endpoint, Upstream
from toolway.plugin import Clock
from toolway_breaker.circuit import Circuit, State, Uniform
from toolway_breaker.ejection import Ejection
from toolway_breaker.faults import fault_of, is_good
from toolway_breaker.limits import BreakerSettings

log = logging.getLogger(__name__)

Heard = Callable[[str, str], None]


class Watched(msgspec.Struct, eq=False):
    """One endpoint."""

    circuit: Circuit
    ejection: Ejection


class Watch(msgspec.Struct, eq=False):
    """The endpoints of one upstream that were tried; `is_troubled` while one of them may be left out."""

    endpoints: dict[str, Watched] = {}
    is_troubled: bool = False


class Breakers:
    """An endpoint filter and a watcher of attempts. What is not in the snapshot any more is forgotten.

    `tripped` and `ejected` hear the upstream and the endpoint of each circuit that opens, and of each ejection.
    """

    name = "breaker"

    def __init__(
        self,
        limits: BreakerSettings,
        clock: Clock,
        snapshot: Callable[[], CatalogSnapshot],
        uniform: Uniform = random.uniform,
    ) -> None:
        self.limits = limits
        self._now = clock.monotonic
        self._snapshot = snapshot
        self._uniform = uniform
        self._number = -1
        self.watched: dict[str, Watch] = {}
        self.tripped: Heard = lambda upstream, endpoint: None
        self.ejected: Heard = lambda upstream, endpoint: None

    def narrow(self, upstream: Upstream, endpoints: Sequence[Endpoint], call: Call) -> Narrowed:
        """See `EndpointFilter`: closed circuits and those that may be probed, of these the ones not ejected."""
        watch = self.watched.get(upstream.name)
        if watch is None or not watch.is_troubled:
            return Narrowed(endpoints)
        now, known = self._now(), watch.endpoints
        watch.is_troubled = any(not each.circuit.is_closed or each.ejection.is_on(now) for each in known.values())
        usable = [each for each in endpoints if each.id not in known or not known[each.id].circuit.wait(now)]
        if not usable:
            return self._refused(known, endpoints, now)
        if len(usable) == 1 or self._is_panic(upstream, known, now):
            return Narrowed(usable)
        left = [each for each in usable if each.id not in known or not known[each.id].ejection.is_on(now)]
        return Narrowed(left or usable)

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`; never refuses."""
        watch = self.watched.get(attempt.upstream.name)
        if watch is not None and watch.is_troubled and (one := watch.endpoints.get(attempt.endpoint.id)) is not None:
            one.circuit.begin(attempt, self._now())

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        one = self._of(attempt)
        if one is None:
            return
        now = self._now()
        begun = now - attempt.seconds
        if (fault := fault_of(attempt)) is not None:
            one.circuit.bad(attempt, now, begun, fault)
            if one.ejection.is_due(begun):
                self._eject(attempt, one, now)
        elif is_good(attempt):
            one.circuit.good(attempt, now, begun)
            one.ejection.good(begun)
        else:
            one.circuit.neutral(attempt)

    def open(self, upstream: str, endpoints: Iterable[str]) -> None:
        """Open circuits by hand, until somebody closes them."""
        for endpoint in endpoints:
            self._made(upstream, endpoint).circuit.hold_open(self._now())
            self.watched[upstream].is_troubled = True

    def close(self, upstream: str, endpoints: Iterable[str]) -> None:
        """Close circuits and end ejections by hand."""
        for endpoint in endpoints:
            one = self._made(upstream, endpoint)
            one.circuit.close(self._now())
            one.ejection.end(self._now())

    def reset(self, upstream: str, endpoints: Iterable[str]) -> None:
        """Forget everything about endpoints."""
        watch = self.watched.get(upstream)
        for endpoint in endpoints:
            if watch is not None and watch.endpoints.pop(endpoint, None) is not None:
                log.info("upstream %s: what was known of endpoint %s is forgotten", upstream, endpoint)

    def forget_gone(self) -> None:
        """Drop the state of endpoints that are in the snapshot no more."""
        snapshot = self._snapshot()
        if snapshot.number == self._number:
            return
        self._number = snapshot.number
        for name, watch in list(self.watched.items()):
            view = snapshot.upstreams.get(name)
            present = {each.id for each in view.upstream.endpoints} if view else set[str]()
            for endpoint in watch.endpoints.keys() - present:
                del watch.endpoints[endpoint]
            if not watch.endpoints:
                del self.watched[name]

    def _of(self, attempt: Attempt) -> Watched | None:
        """What is known of its endpoint; None for one that is gone meanwhile."""
        self.forget_gone()
        name, endpoint = attempt.upstream.name, attempt.endpoint.id
        watch = self.watched.get(name)
        if watch is not None and endpoint in watch.endpoints:
            return watch.endpoints[endpoint]
        view = self._snapshot().upstreams.get(name)
        if view is None or attempt.endpoint not in view.upstream.endpoints:
            return None
        return self._made(name, endpoint)

    def _made(self, upstream: str, endpoint: str) -> Watched:
        watch = self.watched.setdefault(upstream, Watch())
        if endpoint not in watch.endpoints:
            told = partial(self._told, upstream, endpoint)
            circuit, ejection = Circuit(self.limits, told, self._uniform), Ejection(self.limits, self._uniform)
            watch.endpoints[endpoint] = Watched(circuit, ejection)
        return watch.endpoints[endpoint]

    def _told(self, upstream: str, endpoint: str, old: State, new: State, reason: str) -> None:
        """A circuit changed."""
        if new != "closed":
            self.watched[upstream].is_troubled = True
        if new == "open":
            self.tripped(upstream, endpoint)
        log.info("upstream %s: the circuit of endpoint %s was %s and is %s: %s", upstream, endpoint, old, new, reason)

    def _eject(self, attempt: Attempt, one: Watched, now: float) -> None:
        """Eject it if enough others are left."""
        upstream, watch = attempt.upstream, self.watched[attempt.upstream.name]
        total, ejected = len(upstream.endpoints), _ejected(upstream, watch.endpoints, now)
        if total < 2 or total - ejected - 1 < total * self.limits.panic_threshold:
            return
        seconds = one.ejection.eject(now)
        watch.is_troubled = True
        self.ejected(upstream.name, attempt.endpoint.id)
        what = "upstream %s: endpoint %s is ejected for %.1f s after %d faults in a row"
        log.info(what, upstream.name, attempt.endpoint.id, seconds, self.limits.eject_faults)

    def _is_panic(self, upstream: Upstream, known: dict[str, Watched], now: float) -> bool:
        """Whether so many endpoints are ejected that ejection is not to be believed."""
        total = len(upstream.endpoints)
        return total - _ejected(upstream, known, now) < total * self.limits.panic_threshold

    def _refused(self, known: dict[str, Watched], endpoints: Sequence[Endpoint], now: float) -> Narrowed:
        """Why nothing may be tried, and until when."""
        first = min(endpoints, key=lambda each: known[each.id].circuit.wait(now))
        circuit = known[first.id].circuit
        wait = circuit.wait(now)
        if circuit.is_held:
            when = "try again once somebody has closed it ('toolway breakers close')"
        elif circuit.state == "half-open":
            when = "a call is finding out whether it is well again; try again in a second"
        else:
            when = f"it is tried again in {wait:.1f} s"
        whose = "its circuit is" if len(endpoints) == 1 else f"the circuits of all {len(endpoints)} endpoints are"
        return Narrowed((), f"{whose} open ({circuit.reason}); {when}", wait)


def _ejected(upstream: Upstream, known: dict[str, Watched], now: float) -> int:
    return sum(1 for each in upstream.endpoints if each.id in known and known[each.id].ejection.is_on(now))
