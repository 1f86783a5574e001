"""Token buckets that all nodes share: each node draws tokens in advance, so that few calls wait for the store.

The shared bucket is the time at which it would be full again, as in `buckets`, and is moved on with compare-and-set.
What was drawn and not used goes back. At no time were more calls admitted than the bucket gave; over a window that
begins later it may be more by what nodes held at its beginning: a second's worth, or a twentieth of the burst.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from hashlib import blake2b

import msgspec

from toolway_rate_limit.buckets import TOLERANCE, Buckets
from toolway_rate_limit.shared_store import SharedStore

ASK = -1.0
"""In place of a wait: only the store knows."""
LEASE_SECONDS = 5.0
PART = 20
"""A node draws at most one of so many parts of the burst at once."""
SKEW_SECONDS = 60.0
"""Clocks of nodes differ by less; what lies further ahead is of a clock that was wrong."""
RETURNED_AT_ONCE = 100


class Lease(msgspec.Struct, eq=False):
    """Tokens that this node may use until then, and how it gets more; times are monotonic seconds."""

    tokens: int = 0
    until: float = 0.0
    size: int = 1
    denied_until: float = 0.0
    waiting: int = 0
    seen: bytes | None = None
    task: asyncio.Task[None] | None = None


class Leases:
    """As `Buckets`, but `take` may say `ASK`."""

    def __init__(self, store: SharedStore, rule: str, interval: float, burst: int, most: int) -> None:
        self._store, self._rule, self._most = store, rule, most
        self.interval, self._burst = interval, burst
        self._span = burst * interval + interval * TOLERANCE
        self._largest = max(1, min(burst // PART, math.ceil(1 / interval)))
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._alone = Buckets(interval, burst, most)
        store.on_nodes.append(self._alone.share)
        store.on_beat.append(self.return_idle)

    def take(self, key: str, now: float) -> float:
        """Take a token: 0, the seconds until there is one, or `ASK`."""
        lease = self._leases.get(key)
        if lease is None:
            return ASK
        if lease.tokens > 0 and lease.until > now:
            lease.tokens -= 1
            if lease.tokens < lease.size // 2 and lease.task is None and not self._store.is_away:
                self._fetch(key, lease)
            return 0.0
        return lease.denied_until - now if lease.denied_until > now else ASK

    async def ask(self, key: str) -> tuple[float, Buckets | Leases]:
        """Take a token after asking the store: 0 or the seconds until there is one, and who gave it.

        Without the store these are the buckets of this node alone.
        """
        clock = self._store.clock
        deadline = asyncio.get_running_loop().time() + self._store.wait
        lease = self._lease(key)
        lease.waiting += 1
        try:
            while not self._store.is_away:
                task = lease.task or self._fetch(key, lease)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or not (await asyncio.wait({task}, timeout=left))[0]:
                    self._store.failed(f"no answer within {self._store.wait:g} s")
                elif (wait := self.take(key, clock.monotonic())) != ASK:
                    return wait, self
        finally:
            lease.waiting -= 1
        return self._alone.take(key, clock.monotonic()), self._alone

    def give_back(self, key: str) -> None:
        """A token that was taken was not used."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.tokens += 1

    def left(self, key: str, now: float) -> int:
        """Tokens that are there: those drawn, and those of the shared bucket when it was last asked."""
        lease = self._leases.get(key)
        if self._store.is_away or lease is None:
            return self._alone.left(key, now)
        if lease.denied_until > now:
            return lease.tokens
        time = self._store.clock.now()
        missing = max(0.0, float(lease.seen) - time) if lease.seen is not None else 0.0
        return lease.tokens + max(0, int((self._span - missing) / self.interval))

    def emptiest(self, now: float, most: int) -> list[tuple[str, int]]:
        """Who was refused, and may be again; and who asked most recently, with the tokens that this node has."""
        recent = [
            (key, lease.tokens) for key, lease in self._leases.items() if lease.denied_until > now or lease.tokens
        ]
        return sorted(recent, key=lambda entry: entry[1])[:most]

    async def return_idle(self) -> None:
        """Give back what was drawn for keys that are not used any more."""
        now = self._store.clock.monotonic()
        idle = [key for key, lease in self._leases.items() if max(lease.until, lease.denied_until) <= now]
        for key in idle[:RETURNED_AT_ONCE]:
            lease = self._leases[key]
            if lease.tokens and lease.task is None and not self._store.is_away:
                await self._fetch(key, lease, back=True)
            if not (lease.tokens or lease.waiting or lease.task):
                del self._leases[key]

    def _lease(self, key: str) -> Lease:
        lease = self._leases.get(key)
        if lease is None:
            if len(self._leases) >= self._most:
                self._forget()
            lease = self._leases[key] = Lease()
        else:
            self._leases.move_to_end(key)
        return lease

    def _forget(self) -> None:
        """Of the keys that were used longest ago, the first one that nobody waits for."""
        for key, lease in self._leases.items():
            if not lease.waiting and lease.task is None:
                del self._leases[key]
                return

    def _fetch(self, key: str, lease: Lease, *, back: bool = False) -> asyncio.Task[None]:
        self._leases.move_to_end(key)
        task = lease.task = asyncio.create_task(self._fetched(key, lease, back=back))
        return task

    async def _fetched(self, key: str, lease: Lease, *, back: bool) -> None:
        """Draw what is likely to be used soon: twice as much as the last time where that is used up already."""
        now = self._store.clock.monotonic()
        is_busy = lease.until > now
        lease.size = min(self._largest, 2 * lease.size) if is_busy else 1
        credit = 0 if is_busy else lease.tokens
        lease.tokens -= credit
        want = 0 if back else min(self._burst, max(lease.size, lease.waiting))
        try:
            got, wait = await self._draw(key, lease, want, credit)
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; limits go on without it
            self._store.failed(error)
        else:
            now = self._store.clock.monotonic()
            lease.tokens += got
            if got:
                lease.until = now + LEASE_SECONDS
            lease.denied_until = now + wait
        finally:
            lease.task = None

    async def _draw(self, key: str, lease: Lease, want: int, credit: int) -> tuple[int, float]:
        """Tokens that were drawn, else the seconds until there is one."""
        store, interval, span = self._store.keyvalue, self.interval, self._span
        name = f"rate-limit:{self._rule}:{blake2b(key.encode(), digest_size=16).hexdigest()}"
        old = lease.seen if lease.seen is not None else await store.get(name)
        is_fresh = lease.seen is None
        while True:
            now = self._store.clock.now()
            at = max(now, float(old) if old is not None else now)
            if is_wrong := at > now + span + SKEW_SECONDS:
                at = now + span
            at = max(now, at - credit * interval)
            got = min(want, max(0, int((span - (at - now)) / interval)))
            if want and not got and not is_fresh:
                old, is_fresh = await store.get(name), True
                continue
            if not (got or credit or is_wrong):
                return 0, at + interval - span - now
            new = repr(at + got * interval).encode()
            if await store.compare_and_set(name, old, new, span + SKEW_SECONDS):
                lease.seen = new
                return got, 0.0 if got else at + interval - span - now
            old, is_fresh = await store.get(name), True
