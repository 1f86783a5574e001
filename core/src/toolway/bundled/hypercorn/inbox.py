"""Messages on their way from a connection to the application that answers its request."""

from __future__ import annotations

import asyncio

from hypercorn.typing import ASGIReceiveEvent, HTTPDisconnectEvent

_HELD = 256 * 1024
_GONE: HTTPDisconnectEvent = {"type": "http.disconnect"}


class Inbox:
    """A queue that holds the sender back at 256 KiB of unread body, and never when it says that the client has left."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[ASGIReceiveEvent] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._held = 0
        self._gone = False

    async def get(self) -> ASGIReceiveEvent:
        """ASGI `receive`; after the client left it says so every time it is asked."""
        if self._gone and self._queue.empty():
            return _GONE
        message = await self._queue.get()
        if message["type"] == "http.request":
            self._held -= len(message["body"])
            if self._held < _HELD:
                self._room.set()
        return message

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Returns when there is room for more."""
        if message["type"] != "http.request":
            self.disconnect()
        elif not self._gone:
            self._queue.put_nowait(message)
            self._held += len(message["body"])
            if self._held >= _HELD:
                self._room.clear()
                await self._room.wait()

    def disconnect(self) -> None:
        """The client left, or its answer is complete."""
        if not self._gone:
            self._gone = True
            self._queue.put_nowait(_GONE)
            self._room.set()
