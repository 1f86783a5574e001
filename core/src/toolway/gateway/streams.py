"""Ordered messages on their way to one client: kept for a while where the client may come back for them."""

from __future__ import annotations

import asyncio
from collections import deque

RETAIN_BYTES = 256 * 1024
RETAIN_SECONDS = 300.0
PENDING_BYTES = 4 * 1024 * 1024


class EventStream:
    """Messages of one response or of one session's GET stream, numbered from 1.

    With `retain` bytes above 0 sent messages stay for `Last-Event-ID` (legacy); otherwise `forget` drops them.
    A stream whose reader falls `PENDING_BYTES` behind is closed and marked `overflowed`.
    """

    __slots__ = ("_size", "_waiter", "closed", "delivered", "events", "number", "overflowed", "retain", "sequence")

    def __init__(self, number: int = 0, retain: int = 0) -> None:
        self.number = number
        self.retain = retain
        self.events: deque[tuple[int, bytes]] = deque()
        self.sequence = 0
        self.delivered = 0
        self.closed = False
        self.overflowed = False
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: bytes) -> None:
        """Append one JSON-RPC message; ignored once closed."""
        if self.closed:
            return
        self.sequence += 1
        self.events.append((self.sequence, message))
        self._size += len(message)
        self._trim()
        self.wake()

    def close(self) -> None:
        """No more messages will come."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let a waiting reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def since(self, position: int) -> list[tuple[int, bytes]]:
        """Messages after `position` that are still kept."""
        if position >= self.sequence:
            return []
        return [event for event in self.events if event[0] > position]

    def sent(self, position: int) -> None:
        """Messages up to `position` are with the client."""
        self.delivered = max(self.delivered, position)
        if not self.retain:
            while self.events and self.events[0][0] <= position:
                self._drop()

    async def wait(self, position: int, seconds: float) -> bool:
        """Wait for a message after `position`, the end or `wake`; False when `seconds` passed first."""
        if self.sequence > position or self.closed:
            return True
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, waiter.cancel)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled() and not _cancelling():
                return False
            raise
        finally:
            timer.cancel()
            self._waiter = None
        return True

    def _trim(self) -> None:
        while self.retain and self._size > self.retain and self.events and self.events[0][0] <= self.delivered:
            self._drop()
        if self._size > PENDING_BYTES and len(self.events) > 1:
            self.overflowed = self.closed = True

    def _drop(self) -> None:
        self._size -= len(self.events.popleft()[1])


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
