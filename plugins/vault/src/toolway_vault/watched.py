"""Keeps the fields of one path known: read again by time, renewed by lease, used a while longer when Vault is down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from toolway.plugin import Clock
from toolway_vault.failures import Refused, VaultDown, VaultFailure
from toolway_vault.readings import Lease, Reader, Reading
from toolway_vault.tokens import AGAIN_SECONDS, MOST_RETRY_SECONDS, RENEW_AT, RETRY_SECONDS, WORTH

log = logging.getLogger(__name__)


class Watched:
    """One path. While somebody uses it a task of its own looks after it, so that no call waits for Vault."""

    def __init__(self, path: str, reader: Reader, clock: Clock, poll: float, stale_for: float) -> None:
        self.path = path
        self.used = clock.monotonic()
        self.known: Reading | None = None
        self._reader = reader
        self._clock = clock
        self._poll = poll
        self._stale_for = stale_for
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._failure: VaultFailure | None = None
        self._failed_until = 0.0
        self._is_failing = False
        self._outdated = asyncio.Event()

    async def current(self) -> Reading:
        """What is known, or read now.

        Raises:
            VaultDown: nothing is known, or it is too old, and Vault does not answer.
            Refused: Vault says no.
        """
        self.used = self._clock.monotonic()
        if (known := self._usable()) is not None:
            return known
        async with self._lock:
            if (known := self._usable()) is not None:
                return known
            if self._failure is not None and self._clock.monotonic() < self._failed_until:
                raise self._failure
            return await self._read()

    def good_until(self, known: Reading) -> float:
        """Until when it may be used if nothing is heard from Vault any more."""
        return known.lease.ends if known.lease else known.at + self._poll + self._stale_for

    def outdated(self) -> None:
        """The token that its lease belongs to is about to end, and the lease ends with it: take another one now."""
        if self.known is not None and self.known.lease is not None:
            self._outdated.set()

    async def close(self, *, revoke: bool = False) -> None:
        """Stop looking after it."""
        if self._watching is not None:
            self._watching.cancel()
        if revoke and self.known is not None and self.known.lease is not None:
            try:
                await self._reader.revoke(self.known.lease)
            except VaultFailure as error:
                log.info("vault: a lease of %s could not be revoked: %s", self.path, error)
        self.known = None

    def _usable(self) -> Reading | None:
        known = self.known
        return known if known is not None and self._clock.monotonic() < self.good_until(known) else None

    async def _read(self) -> Reading:
        """Ask Vault; remember what it says, also when it is no."""
        try:
            found = await self._reader.read(self.path, self.known)
        except VaultFailure as failure:
            self._failure, self._failed_until = failure, self._clock.monotonic() + AGAIN_SECONDS
            if isinstance(failure, Refused):
                self.known = None
            raise
        self._keep(found)
        return found

    def _keep(self, found: Reading) -> None:
        if self.known is not None and found.version != self.known.version:
            log.info("vault: %s has changed and is used from now on (version %s)", self.path, found.version)
        self.known, self._failure = found, None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Look after it until it is gone."""
        wait = 0.0
        while self.known is not None:
            await (asyncio.sleep(wait) if wait else self._until(self._due(self.known)))
            try:
                async with self._lock:
                    if self.known is not None:
                        await self._refresh(self.known)
                wait = self._worked()
            except VaultDown as error:
                wait = self._failed(error, wait)
            except Refused as error:
                log.warning("vault: %s is not usable any more: %s", self.path, error)

    async def _until(self, seconds: float) -> None:
        """Wait so long, or until it is outdated."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._outdated.wait()

    def _due(self, known: Reading) -> float:
        """In how many seconds it is looked at again: a little scattered, where there is no lease."""
        if known.lease is not None:
            return known.lease.seconds * RENEW_AT
        return self._poll * random.uniform(0.9, 1.0)

    async def _refresh(self, known: Reading) -> None:
        lease = known.lease
        if lease is None or not await self._is_renewed(known, lease):
            await self._read()
        self._outdated.clear()

    async def _is_renewed(self, known: Reading, lease: Lease) -> bool:
        """Not when that brings little: then its maximum is near, and it is time for new credentials."""
        if not lease.renewable or self._outdated.is_set() or self._usable() is None:
            return False
        try:
            longer = await self._reader.renewed(known, lease)
        except Refused as error:
            log.info("vault: the lease of %s is not renewed (%s); new credentials are taken", self.path, error)
            return False
        self._keep(longer)
        return longer.lease is not None and longer.lease.seconds >= lease.granted * WORTH

    def _worked(self) -> float:
        if self._is_failing:
            log.info("vault: %s is read again", self.path)
        self._is_failing = False
        return 0.0

    def _failed(self, error: VaultDown, wait: float) -> float:
        """How long to wait for the next try."""
        if not self._is_failing and self.known is not None:
            left = max(0.0, self.good_until(self.known) - self._clock.monotonic())
            log.warning("vault: %s cannot be read: %s; what is known is used for %d s at most", self.path, error, left)
        self._is_failing = True
        return min(max(wait * 2, RETRY_SECONDS), MOST_RETRY_SECONDS)
