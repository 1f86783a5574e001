"""Copies in the key-value store, for all nodes: sealed, because results can be as secret as the credentials for them.

A copy is found under the epoch of its upstream, a random text that is replaced when something of the upstream may have
changed: what was kept before is not found any more, and ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Iterable
from hashlib import blake2b
from typing import TypeVar

import msgspec

from toolway.plugin import Kernel
from toolway_cache.entries import Entry
from toolway_cache.settings import CacheSettings
from toolway_cache.wanted import Wanted

log = logging.getLogger(__name__)

T = TypeVar("T")
PURPOSE = "cache"
LARGEST = 700_000
"""Bytes of a body: sealed and written as text it is at most 1 MiB, which is what stores take."""
PENDING = 64
"""Copies on their way to the store; more are not written."""
FIRST_PAUSE, LAST_PAUSE = 0.02, 0.25
"""Seconds between two looks for what another node makes; they grow."""
PAUSE_SECONDS = 1.0
"""So long a store that failed, or was too slow, is not asked."""


class Stored(msgspec.Struct, array_like=True):
    """A copy as it is written; times are seconds since 1970."""

    key: bytes
    stored_at: float
    fresh_until: float
    stale_until: float
    lacks_ttl: bool
    body: bytes


class SharedCopies:
    """Reads and writes them; see `CacheSettings` for `store_wait` and `shared_wait`."""

    def __init__(self, kernel: Kernel, settings: CacheSettings) -> None:
        self._keyvalue, self._seal, self._clock = kernel.keyvalue, kernel.seal, kernel.clock
        self._wait, self._longest = settings.store_wait, settings.shared_wait
        self._changed: set[str] = set()
        self._away_until = 0.0
        self._writing: set[asyncio.Task[None]] = set()

    async def get(self, wanted: Wanted, key: bytes) -> Entry | None:
        """A fresh copy, if there is one, or another node makes one meanwhile; else this node is to make the call.

        Then `wanted.epoch` is known, in any case but when the store is away, and `end` has to be called.
        """
        end, pause = self._clock.monotonic() + self._longest, FIRST_PAUSE
        known = await self._known(wanted, key)
        while known is None and self._longest and self._has_epoch(wanted):
            name = f"{_name(wanted, key)}:lead"
            if await self._leads(wanted, name):
                return await self._known(wanted, key)  # it may have come between the two questions
            if self._clock.monotonic() >= end:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LAST_PAUSE)
            known = await self._known(wanted, key)
        return known

    def end(self, wanted: Wanted) -> None:
        """The call is over: write its copy soon, for the others, and let those go on who wait for it."""
        made, lead, wanted.made, wanted.lead = wanted.made, wanted.lead, None, None
        if made is not None and not self._is_for_others(wanted, made):
            made = None
        if made is not None or lead is not None:
            task = asyncio.create_task(self._ended(wanted, made, lead))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def changed(self, upstreams: Iterable[str]) -> None:
        """What is in the store of these may be old: it is not asked before `forget` is done."""
        self._changed.update(upstreams)

    async def forget(self) -> None:
        """Begin a new epoch of every upstream that changed; raises what the store raises."""
        for upstream in sorted(self._changed):
            await self._keyvalue.set(_epoch_name(upstream), secrets.token_bytes(9).hex().encode())
            self._changed.discard(upstream)

    def _has_epoch(self, wanted: Wanted) -> bool:
        """Whether the store is of use for this call."""
        is_there = self._away_until <= self._clock.monotonic()
        return bool(wanted.epoch) and is_there and wanted.target.upstream not in self._changed

    def _is_for_others(self, wanted: Wanted, entry: Entry) -> bool:
        is_result = entry.fault is None and entry.failure is None and len(entry.body) <= LARGEST
        return is_result and self._has_epoch(wanted) and len(self._writing) < PENDING

    async def _leads(self, wanted: Wanted, name: str) -> bool:
        """Whether other nodes wait for this call from now on, and not this one for theirs."""
        lead = secrets.token_bytes(9).hex().encode()
        if await self._asked(self._keyvalue.compare_and_set(name, None, lead, self._longest)):
            wanted.lead = name, lead
        return wanted.lead is not None

    async def _ended(self, wanted: Wanted, made: Entry | None, lead: tuple[str, bytes] | None) -> None:
        """Those who wait look for the copy once more when the call is nobody's any more."""
        if made is not None:
            await self._put(_name(wanted, made.key), made)
        if lead is not None and await self._asked(self._keyvalue.get(lead[0])) == lead[1]:
            await self._asked(self._keyvalue.delete(lead[0]))

    async def _known(self, wanted: Wanted, key: bytes) -> Entry | None:
        upstream = wanted.target.upstream
        if upstream in self._changed or self._away_until > self._clock.monotonic():
            return None
        epoch: bytes | None = await self._asked(self._epoch(upstream))
        wanted.epoch = epoch or b""
        sealed = await self._asked(self._keyvalue.get(_name(wanted, key))) if wanted.epoch else None
        payload = self._seal.open(PURPOSE, sealed.decode("latin-1")) if sealed is not None else None
        if payload is None or upstream in self._changed:
            return None
        stored = msgspec.msgpack.decode(payload, type=Stored)
        past = self._clock.monotonic() - self._clock.now()
        if stored.key != key or stored.fresh_until + past <= self._clock.monotonic():
            return None
        entry = wanted.stored(key, stored.stored_at + past, stored.fresh_until + past, stored.stale_until + past)
        entry.lacks_ttl, entry.body = stored.lacks_ttl, stored.body
        return entry

    async def _epoch(self, upstream: str) -> bytes | None:
        name = _epoch_name(upstream)
        known = await self._keyvalue.get(name)
        if known is None:
            await self._keyvalue.compare_and_set(name, None, secrets.token_bytes(9).hex().encode())
            known = await self._keyvalue.get(name)
        return known

    async def _put(self, name: str, entry: Entry) -> None:
        now, past = self._clock.monotonic(), self._clock.monotonic() - self._clock.now()
        times = (entry.stored_at - past, entry.fresh_until - past, entry.stale_until - past)
        payload = msgspec.msgpack.encode(Stored(entry.key, *times, entry.lacks_ttl, entry.body))
        sealed = self._seal.seal(PURPOSE, payload).encode("latin-1")
        await self._asked(self._keyvalue.set(name, sealed, max(0.001, entry.fresh_until - now)))

    async def _asked(self, work: Awaitable[T | None]) -> T | None:
        """What the store answers; None when it does not, and then it is left alone for a while."""
        try:
            async with asyncio.timeout(self._wait):
                return await work
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; calls go on without it
            log.warning(
                "the key-value store is away (%s); copies are those of this node alone", str(error) or "too slow"
            )
            self._away_until = self._clock.monotonic() + PAUSE_SECONDS
            return None


def _epoch_name(upstream: str) -> str:
    return f"cache:epoch:{upstream}"


def _name(wanted: Wanted, key: bytes) -> str:
    """Nodes that have another idea of the upstream or the item do not find it."""
    item, upstream = wanted.target.item, wanted.view.upstream
    about = upstream.settings.model_dump_json().encode() + b"\0" + (item.raw if item is not None else b"")
    return f"cache:{wanted.epoch.decode()}:{key.hex()}:{blake2b(about, digest_size=8).hexdigest()}"
