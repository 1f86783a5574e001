"""The ways to choose one of several endpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from toolway.hookspecs.routing import Call
from toolway_balancer.hashing import HashByKey, key_of
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings


class Strategy(Protocol):
    """Chooses one of two or more; those of weight 0 are only among them when all are."""

    def choose(self, replicas: Sequence[Replica], call: Call, now: float) -> Replica:
        """One of `replicas`."""


class TwoChoices:
    """The cheaper one of two at random (power of two choices, Mitzenmacher 2001): no herd follows the cheapest."""

    def __init__(self, random: Random, cost: Callable[[Replica, float], float]) -> None:
        self._random = random.random
        self._cost = cost

    def choose(self, replicas: Sequence[Replica], call: Call, now: float) -> Replica:
        """See `Strategy`."""
        count = len(replicas)
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        one, other = replicas[first], replicas[second + (second >= first)]
        return other if self._cost(other, now) < self._cost(one, now) else one


class InTurn:
    """Smooth weighted round-robin, as nginx does: each has its part of any few calls, without bursts."""

    def __init__(self, *, is_weighted: bool) -> None:
        self._is_weighted = is_weighted

    def choose(self, replicas: Sequence[Replica], call: Call, now: float) -> Replica:
        """See `Strategy`."""
        total, best = 0.0, replicas[0]
        for replica in replicas:
            part = replica.share(now) * ((replica.weight or 1.0) if self._is_weighted else 1.0)
            replica.turn += part
            total += part
            if replica.turn > best.turn:
                best = replica
        best.turn -= total
        return best


def strategy_of(settings: BalancerSettings, upstream: str, random: Random) -> Strategy:
    """The one that the settings name for an upstream."""
    peak = TwoChoices(random, Replica.cost)
    match settings.strategy_of(upstream):
        case "peak-ewma":
            return peak
        case "least-request":
            return TwoChoices(random, Replica.load)
        case "hash":
            return HashByKey(key_of(settings.rule(upstream).key), peak.choose)
        case name:
            return InTurn(is_weighted=name == "weighted")
