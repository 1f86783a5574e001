"""What an application receives of one request: its body as it arrives, then that the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

_HELD = 256 * 1024


class Inbox:
    """Is full at 256 KiB of unread body, and calls `resume` when it is no more, or closed."""

    more_body, _body = True, b""
    is_closed = _is_news = False
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, resume: Callable[[], None]) -> None:
        self._resume = resume

    async def receive(self) -> Any:
        """ASGI `receive`; after the end it says so every time it is asked."""
        while not (self._is_news or self.is_closed):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.is_closed:
            return {"type": "http.disconnect"}
        body, self._body, self._is_news = self._body, b"", False
        self._resume()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def put(self, data: bytes, more: bool) -> bool:
        """A piece of the body; whether there is room for another one."""
        self._body += data
        self.more_body = more
        self._is_news = self._is_news or not more or bool(data)
        self._wake()
        return self.is_closed or len(self._body) < _HELD

    def close(self) -> None:
        """The client left, or its answer is complete."""
        self.is_closed = True
        self._wake()
        self._resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
