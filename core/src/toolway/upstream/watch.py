"""Keeps one stream of changes open: replaced when the wish changes, reopened with back-off when it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from toolway.errors import ToolwayError
from toolway.hookspecs.routing import Peer, Wants
from toolway.upstream.channel import OPENING_SECONDS
from toolway.upstream.questions import Tasks

log = logging.getLogger(__name__)

BASE_SECONDS = 0.1
CAP_SECONDS = 60.0
STEADY_SECONDS = 5.0
"""What lasted so long counts as a success."""

NOTHING = Wants()
Listen = Callable[[Wants, Callable[[], None]], Awaitable[bool]]


class Backoff:
    """Full jitter below a bound that doubles from 0.1 s to 60 s with each failure in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._since = asyncio.get_running_loop().time()

    async def pause(self) -> None:
        """Wait before the next try; what ran since the last one was a failure unless it lasted."""
        loop = asyncio.get_running_loop()
        self._failures = 1 if loop.time() - self._since > STEADY_SECONDS else self._failures + 1
        await asyncio.sleep(random.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(self._failures, 16))))
        self._since = loop.time()


class Watch:
    """Runs `listen(wants, ready)` again and again: one stream, which calls `ready` once it is in force.

    `listen` returns when the stream ended, False when the upstream has no such stream, or raises UpstreamError.
    """

    def __init__(self, peer: Peer, listen: Listen, upstream: str) -> None:
        self._peer = peer
        self._listen = listen
        self._upstream = upstream
        self._wants = NOTHING
        self._task: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def set(self, wants: Wants) -> None:
        """Have these reported; returns when the new stream is in force, or failed at first; then the old one ends."""
        if wants == self._wants:
            return
        old, self._task, self._wants = self._task, None, wants
        try:
            if wants != NOTHING:
                tried = asyncio.Event()
                self._task = self._tasks.start(self._keep(wants, tried))
                async with asyncio.timeout(OPENING_SECONDS):
                    await tried.wait()
        except TimeoutError:
            log.warning("upstream %s did not acknowledge a subscription", self._upstream)
        finally:
            if old is not None:
                old.cancel()

    async def stop(self) -> None:
        """Close the stream."""
        await self._tasks.close()

    async def _keep(self, wants: Wants, tried: asyncio.Event) -> None:
        backoff, again = Backoff(), False

        def ready() -> None:
            tried.set()
            if again:
                resynchronize(self._peer, wants)

        while True:
            try:
                if not await self._listen(wants, ready):
                    log.info("upstream %s does not report changes", self._upstream)
                    return
            except ToolwayError as error:
                log.info("the stream of changes of upstream %s broke: %s", self._upstream, error)
            finally:
                tried.set()
            again = True
            await backoff.pause()


def resynchronize(peer: Peer, wants: Wants) -> None:
    """After a gap: everything wanted may have changed meanwhile."""
    for kind in ("tools", "prompts", "resources"):
        if getattr(wants, kind):
            peer.notify(f"notifications/{kind}/list_changed", {})
    for uri in sorted(wants.uris):
        peer.notify("notifications/resources/updated", {"uri": Raw(msgspec.json.encode(uri))})
