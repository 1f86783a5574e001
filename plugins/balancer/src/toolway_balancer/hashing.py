"""Consistent hashing: calls with one key go to one endpoint, and few keys move when endpoints come and go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import log

from toolway.hookspecs.routing import Call
from toolway_balancer.replica import Replica

Key = Callable[[Call], str]
Choose = Callable[[Sequence[Replica], Call, float], Replica]

MASK = 2**64 - 1
KNOWN_ENDPOINTS = 4096


class HashByKey:
    """Weighted rendezvous hashing (Thaler and Ravishankar 1998): the same on every node, after every restart.

    Calls without a key go `otherwise`.
    """

    def __init__(self, key: Key, otherwise: Choose) -> None:
        self._key = key
        self._otherwise = otherwise

    def choose(self, replicas: Sequence[Replica], call: Call, now: float) -> Replica:
        """See `Strategy`."""
        key = self._key(call)
        return owner(key, replicas) if key else self._otherwise(replicas, call, now)


def owner(key: str, replicas: Sequence[Replica]) -> Replica:
    """The one of `replicas` whose key it is; without any of them, only its own keys move."""
    seed = _digest(key)
    return max(replicas, key=lambda each: _score(seed, each))


def key_of(rule: str) -> Key:
    """What finds the key of a call: empty when it has none, as anonymous callers have no principal."""
    kind, _, name = rule.partition(":")
    if kind == "session":
        return lambda call: call.session
    if kind == "header":
        return lambda call: call.outgoing_headers.get(name, "")
    if kind == "meta":
        return lambda call: str(bytes(call.meta[name]), "utf-8", "replace") if name in call.meta else ""
    return lambda call: call.principal.id if call.principal.kind != "anonymous" else ""


def _score(seed: int, replica: Replica) -> float:
    mixed = _mixed(seed ^ _known_digest(replica.endpoint.id))
    weight = replica.weight or 1.0
    return -weight / log((mixed + 1) / (MASK + 2))


def _mixed(value: int) -> int:
    """The finalizer of SplitMix64."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


_known_digest = lru_cache(KNOWN_ENDPOINTS)(_digest)
