"""What is sent in one turn of the event loop goes out together, and in some more of them while it is busy."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect
from contextvars import Context
from functools import partial
from weakref import WeakKeyDictionary

from toolway.edge.vigil import Vigil

log = logging.getLogger(__name__)

MANY = 3
"""So many requests are in flight before anything waits for another: until then a turn of the loop costs more."""

MOST = 256 * 1024
"""Bytes that wait at most: more has to be in the buffers of transports, which tell their writers to pause."""

BUSY = 6, 14
"""So many messages went out together before the next ones wait for one more turn, or two, which bring as many again."""


class Outbox:
    """Sends what can wait until the event loop comes to it, one after the other.

    A system call between other code costs the code behind it more than it takes itself, and readers are woken up more
    often. `in_flight` are the requests that are being answered; whoever answers them counts them. Before anything else
    is done with a transport, what waits has to be sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.in_flight = 0
        self.turn = 0
        self._call_soon, self._context = loop.call_soon, Context()
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []
        self._turns = self._size = 0
        self._vigil = Vigil(partial(loop.call_soon, context=self._context))

    def put(self, transport: asyncio.WriteTransport, data: bytes) -> int:
        """Send it soon; at once while few requests are in flight. The turn: until `turn` is another one, it waits."""
        if not self._waiting:
            if self.in_flight < MANY:
                transport.write(data)
                self._vigil.keep()
                return -1
            self._call_soon(self._wait, self._turns, context=self._context)
        self._waiting.append((transport, data))
        self._size += len(data)
        if self._size > MOST:
            self.send()
            return -1
        return self.turn

    def send(self) -> None:
        """Send now what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        self.turn += 1
        self._turns = bisect(BUSY, len(waiting))
        for transport, data in waiting:
            try:
                if not transport.is_closing():
                    transport.write(data)
            except Exception:
                log.exception("sending failed")

    def _wait(self, turns: int) -> None:
        if turns:
            self._call_soon(self._wait, turns - 1, context=self._context)
        else:
            self.send()


_OUTBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox() -> Outbox:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    if (found := _OUTBOXES.get(loop)) is None:
        found = _OUTBOXES[loop] = Outbox(loop)
    return found
