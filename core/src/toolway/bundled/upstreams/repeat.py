"""What a conversation does on the side: background tasks, streams that are kept open, and what gaps in them mean."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from toolway.bundled.upstreams.channel import raw
from toolway.hookspecs.routing import Peer, Wants
from toolway.plugin import ToolwayError, UpstreamError

log = logging.getLogger(__name__)

BASE_SECONDS = 0.1
CAP_SECONDS = 60.0
PATIENCE = 5.0
"""Seconds. What lasted so long counts as a success; a stream that is not open by then, or a cancellation that is not
read, is not waited for any longer."""

NOTHING = Wants()


class Tasks:
    """Kept until they end; failures are logged, all end together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.is_closed = False

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it in the background."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """End all of it, for good."""
        self.is_closed = True
        tasks = self._running - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def check_open(self, upstream: str) -> None:
        """Raise UpstreamError after `close`."""
        if self.is_closed:
            raise UpstreamError(f"the connection to upstream {upstream!r} was closed meanwhile", sent=False)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ToolwayError):
            log.info("a message to an upstream was lost: %s", error)
        elif error is not None:
            log.error("the conversation with an upstream met a bug", exc_info=error)


async def repeat(once: Callable[[], Awaitable[bool]], what: str, ended: Callable[[], None] = lambda: None) -> None:
    """Do it until it returns False; between, wait with full jitter below a bound that doubles from 0.1 s to 60 s.

    `ended` is called each time that it was done or has failed.
    """
    failures = 0
    while True:
        since = asyncio.get_running_loop().time()
        try:
            if not await once():
                return
        except ToolwayError as error:
            log.info("%s: %s", what, error)
        finally:
            ended()
        failures = 1 if asyncio.get_running_loop().time() - since > PATIENCE else failures + 1
        await asyncio.sleep(random.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures, 16))))


def first_try() -> asyncio.Event:
    """To be set when a stream opens or fails; set after `PATIENCE` anyway. Opening later is after a gap."""
    tried = asyncio.Event()
    asyncio.get_running_loop().call_later(PATIENCE, tried.set)
    return tried


def resynchronize(peer: Peer, wants: Wants) -> None:
    """After a gap: everything wanted may have changed meanwhile."""
    for kind in ("tools", "prompts", "resources"):
        if getattr(wants, kind):
            peer.notify(f"notifications/{kind}/list_changed", {})
    for uri in sorted(wants.uris):
        peer.notify("notifications/resources/updated", {"uri": raw(uri)})
