"""Ordered messages on their way to one client: kept for a while where the client may come back for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from toolway.hookspecs.structs import Mutable

RETAIN_BYTES = 256 * 1024
RETAIN_SECONDS = 300.0
PENDING_BYTES = 4 * 1024 * 1024
LONG = 60.0


class Budget(msgspec.Struct, eq=False, metaclass=Mutable):
    """Bytes that the streams of one session keep together; more than `PENDING_BYTES` ends the stream that asks."""

    used: int = 0


class EventStream(msgspec.Struct, eq=False, metaclass=Mutable):
    """Messages of one response or of one session's GET stream, numbered from 1; `readers` are called when one comes.

    `more` is called after each message that is not the last.
    With `retain` bytes above 0 sent messages stay for `Last-Event-ID` (legacy); otherwise `sent` drops them.
    A `lossy` stream, which nobody reads at present, keeps the newest only. A stream that keeps more than
    `PENDING_BYTES`, alone or with others of its budget, is closed and marked `overflowed`.
    """

    number: int = 0
    retain: int = 0
    budget: Budget | None = None
    events: list[tuple[int, bytes]] = []
    sequence: int = 0
    delivered: int = 0
    closed: bool = False
    overflowed: bool = False
    lossy: bool = False
    left_at: float | None = None
    readers: list[Callable[[], None]] = []
    more: Callable[[], None] | None = None
    size: int = 0

    def put(self, message: bytes, *, last: bool = False) -> None:
        """Append one JSON-RPC message, perhaps the `last` one; ignored once closed."""
        if self.closed:
            return
        self.sequence += 1
        self.events.append((self.sequence, message))
        self.size += len(message)
        pending = self.size
        if self.budget is not None:
            pending = self.budget.used = self.budget.used + len(message)
        if pending > PENDING_BYTES or self.size > self.retain > 0:
            self._keep_bounds()
        if last:
            self.closed = True
        elif self.more is not None:
            self.more()
        if self.readers:
            self.wake()

    def close(self) -> None:
        """No more messages will come."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let every reader look again."""
        for reader in list(self.readers):
            reader()

    def since(self, position: int) -> list[tuple[int, bytes]]:
        """Messages after `position` that are still kept."""
        return [event for event in self.events if event[0] > position] if position < self.sequence else []

    def sent(self, position: int) -> None:
        """Messages up to `position` are with the client."""
        self.delivered = max(self.delivered, position)
        if not self.retain and self.events:
            self._drop(max(0, position + 1 - self.events[0][0]))

    def take_over(self, old: EventStream, position: int) -> None:
        """Go on where the client's copy of `old` ends: the same numbers, what it has not got yet."""
        self.sequence = self.delivered = old.sequence
        for sequence, message in old.since(position):
            self.sequence = sequence - 1
            self.delivered = min(self.delivered, self.sequence)
            self.put(message)
        old.clear()
        old.close()

    def clear(self) -> None:
        """Forget what is kept."""
        self._drop(len(self.events))

    async def wait(self, position: int, seconds: float) -> bool:
        """Wait for a message after `position`, the end or `wake`; False when `seconds` passed first."""
        if self.closed or self.since(position):
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        reader = partial(_settle, waiter, True)
        self.readers.append(reader)
        timer = loop.call_later(seconds, _settle, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self.readers.remove(reader)

    async def messages(self, position: int) -> AsyncIterator[bytes]:
        """Those after `position` as they come, until the stream is closed; each is sent when the next is wanted."""
        while not self.closed or self.since(position):
            await self.wait(position, LONG)
            for sequence, message in self.since(position):
                yield message
                position = sequence
                self.sent(position)

    async def ended(self) -> None:
        """Wait until it is closed."""
        while not self.closed:
            await self.wait(self.sequence, LONG)

    def _keep_bounds(self) -> None:
        most = len(self.events) - 1 if self.lossy else min(len(self.events) - 1, self.delivered + 1 - self.events[0][0])
        count, surplus = 0, self.size - self.retain if self.retain else 0
        while count < most and surplus > 0:
            count, surplus = count + 1, surplus - len(self.events[count][1])
        self._drop(count)
        pending = self.size if self.budget is None else self.budget.used
        if pending > PENDING_BYTES and len(self.events) > 1:
            self.overflowed = self.closed = True

    def _drop(self, count: int) -> None:
        """Forget so many of the oldest ones."""
        size = self.size if count == len(self.events) else sum(len(message) for _, message in self.events[:count])
        del self.events[:count]
        self.size -= size
        if self.budget is not None:
            self.budget.used -= size


def _settle(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)
