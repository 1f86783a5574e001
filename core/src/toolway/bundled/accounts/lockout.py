"""Slows down whoever guesses passwords, and nobody else: counters that all nodes share.

Failures count for an account and a source together, so that nobody can lock a user out from elsewhere, and for a
source alone, which does not stop users who signed in from there before. An attempt counts before it is made and is
taken back if it was good: a hundred at once are not more than one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import TypeVar

import msgspec

from toolway.hookspecs.caching import KeyValueStore
from toolway.plugin import Clock, TooManyFailures

FREE = 5
"""Failures of an account and source without consequences; the next ones are 1, 2, 4, … seconds apart."""
MOST, LOCK_SECONDS = 10, 900.0
PER_SOURCE, WINDOW_SECONDS = 50, 3600.0
KNOWN_SECONDS = 30 * 86400.0

T = TypeVar("T")


class Trial(msgspec.Struct, frozen=True):
    """Whose attempt it is and from where, as keys of the store."""

    pair: str
    source: str


class Lockout:
    """Counts failures."""

    def __init__(self, keyvalue: KeyValueStore, clock: Clock) -> None:
        self._keyvalue = keyvalue
        self._clock = clock

    async def attempt(self, username: str, address: str, verify: Callable[[], Awaitable[T | None]]) -> T | None:
        """What `verify` finds; None is a failure, an exception is neither failure nor success.

        Raises:
            TooManyFailures: it may not be tried now; `details["retry_after"]` is in seconds.
        """
        trial = self._trial(username, address)
        await self._check_source(trial)
        wait = await self._check_pair(trial)
        try:
            found = await verify()
        except Exception:
            await self._take_back(trial.pair, trial.source)
            raise
        if found is not None:
            await self._succeeded(trial)
        elif wait:  # it begins when the failure is told
            await self._keyvalue.set(f"{trial.pair}:until", str(self._clock.now() + wait).encode(), wait)
        return found

    def _trial(self, username: str, address: str) -> Trial:
        source = _network(address)
        digest = blake2b(f"{username.casefold()}\0{source}".encode(), digest_size=16).hexdigest()
        window = int(self._clock.now() // WINDOW_SECONDS)
        return Trial(f"accounts:failures:{digest}", f"accounts:failures:{source}:{window}")

    async def _check_source(self, trial: Trial) -> None:
        failures = await self._keyvalue.increment(trial.source, ttl=WINDOW_SECONDS)
        if failures > PER_SOURCE and await self._keyvalue.get(f"{trial.pair}:known") is None:
            raise _refusal(WINDOW_SECONDS - self._clock.now() % WINDOW_SECONDS)

    async def _check_pair(self, trial: Trial) -> float:
        """How long the next attempt must wait if this one fails."""
        gate, now = f"{trial.pair}:until", self._clock.now()
        if (until := await self._keyvalue.get(gate)) is not None:
            await self._take_back(trial.source)
            raise _refusal(float(until) - now)
        failures = await self._keyvalue.increment(trial.pair, ttl=WINDOW_SECONDS)
        if failures < FREE:
            return 0.0
        wait = _pause(failures)
        is_first = await self._keyvalue.compare_and_set(gate, None, str(now + wait).encode(), wait)
        if not is_first and failures > FREE:
            await self._take_back(trial.pair, trial.source)
            raise _refusal(wait)
        return wait

    async def _succeeded(self, trial: Trial) -> None:
        await self._keyvalue.delete(trial.pair)
        await self._keyvalue.delete(f"{trial.pair}:until")
        await self._keyvalue.set(f"{trial.pair}:known", b"1", KNOWN_SECONDS)
        await self._take_back(trial.source)

    async def _take_back(self, *counters: str) -> None:
        for each in counters:
            await self._keyvalue.increment(each, -1, ttl=WINDOW_SECONDS)


def _pause(failures: int) -> float:
    return LOCK_SECONDS if failures >= MOST else 2.0 ** (failures - FREE)


def _refusal(seconds: float) -> TooManyFailures:
    wait = max(1, math.ceil(seconds))
    return TooManyFailures(f"too many sign-ins failed; try again in {wait} s", retry_after=wait)


def _network(address: str) -> str:
    """Who shares an address: with IPv6 everybody has a /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(mapped if mapped.version == 4 else ip_network((mapped, 64), strict=False))
