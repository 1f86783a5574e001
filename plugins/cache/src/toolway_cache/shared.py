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
from toolway_cache.wanted import Wanted

log = logging.getLogger(__name__)

T = TypeVar("T")
PURPOSE = "cache"
LARGEST = 700_000
"""Bytes of a body: sealed and written as text it is at most 1 MiB, which is what stores take."""
PENDING = 64
"""Copies on their way to the store; more are not written."""
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
    """Reads and writes them; `wait` is the longest wait of a call for the store, in seconds."""

    def __init__(self, kernel: Kernel, wait: float) -> None:
        self._keyvalue, self._seal, self._clock, self._wait = kernel.keyvalue, kernel.seal, kernel.clock, wait
        self._changed: set[str] = set()
        self._away_until = 0.0
        self._writing: set[asyncio.Task[None]] = set()

    async def get(self, wanted: Wanted, key: bytes) -> Entry | None:
        """A fresh copy, if there is one; then `wanted.epoch` is known, in any case but when the store is away."""
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

    def put(self, wanted: Wanted, entry: Entry) -> None:
        """Write a copy of a result soon, for the others."""
        is_result = entry.fault is None and entry.failure is None and len(entry.body) <= LARGEST
        if not (is_result and wanted.epoch) or entry.upstream in self._changed or len(self._writing) >= PENDING:
            return
        task = asyncio.create_task(self._put(_name(wanted, entry.key), entry))
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
