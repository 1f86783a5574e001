"""One request on its way through the door: the body within size and time, and exactly one well-formed answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import NoReturn

from anyio import CancelScope
from starlette.types import Message, Receive, Scope, Send

from toolway.edge.problem import NOSNIFF, HeaderList, Refusal
from toolway.edge.settings import Limits

log = logging.getLogger("toolway.edge")


class Exchange:
    """`receive` and `send` for the application behind the door; cancel `life` to end it early.

    `is_stream` says that the answer is an event stream, `gone` that the client has left.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.scope = scope
        self.life = CancelScope()
        self.is_stream = self.started = self.gone = self._is_read = self._is_finished = False
        self.refusal: Refusal | None = None
        self.cors: HeaderList = []
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline = asyncio.get_running_loop().time() + limits.body_total
        self._received = 0

    async def receive(self) -> Message:
        """ASGI `receive`; raises `Refusal`: 408 (too slow), 413 (too large) or 400 (the server could not read it)."""
        if self.refusal is not None:
            raise self.refusal
        message = await (self._receive() if self._is_read else self._next_piece())
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self.count(self._received)
            self._is_read = not message.get("more_body", False)
        else:
            self.gone = True
        return message

    async def _next_piece(self) -> Message:
        gap = asyncio.get_running_loop().time() + self._limits.body_gap
        try:
            async with asyncio.timeout_at(min(self._deadline, gap)):
                return await self._receive()
        except TimeoutError:
            self._refuse(Refusal(408, "body_too_slow", "The request body did not arrive in time."))
        except Exception as error:
            log.debug("the server could not read a request body", exc_info=error)
            self._refuse(Refusal(400, "bad_body", "The request body is malformed."))

    def count(self, size: int) -> None:
        """Raises `Refusal` (413) if a body of this size in bytes, announced or received, is too large."""
        if size > self._limits.body:
            self._refuse(Refusal(413, "body_too_large", f"A request body may have {self._limits.body} bytes."))

    def _refuse(self, refusal: Refusal) -> NoReturn:
        """An application that swallows the refusal cannot answer something else instead."""
        self.refusal = refusal
        raise refusal from None

    async def send(self, message: Message) -> None:
        """ASGI `send` with the headers of the door; nothing goes out after a refusal but the refusal."""
        if self.refusal is not None and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._complete(message.get("headers", ()))}
        else:
            self._is_finished = not message.get("more_body", False)
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    def _complete(self, headers: HeaderList) -> HeaderList:
        self.is_stream = dict(headers).get(b"content-type", b"").startswith(b"text/event-stream")
        return [*headers, *self.cors, NOSNIFF]

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal and close the connection."""
        self.refusal = None
        await self.answer(refusal.status, refusal.headers, refusal.body)

    async def fail(self, error: Exception) -> None:
        """Answer 500 with an error id that the log has together with the exception; the client sees no more."""
        if self.gone:
            return log.debug("the client left: %s", type(error).__name__)
        error_id = secrets.token_hex(8)
        log.error("a request failed unexpectedly, error id %s", error_id, exc_info=error, extra={"error_id": error_id})
        await self.refuse(Refusal(500, "internal_error", "The gateway failed; its log has more.", error_id=error_id))

    async def answer(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """A whole answer of the door, unless another has begun; raises `OSError` if the client leaves."""
        if not (self.started or self.gone):
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})

    async def end(self) -> None:
        """The node stops: finish an event stream cleanly; any other answer that has begun stays visibly incomplete."""
        if not self.started:
            await self.refuse(Refusal(503, "stopping", "The gateway is stopping.", retry_after=1))
        elif self.is_stream and not (self._is_finished or self.gone):
            await self.send({"type": "http.response.body", "body": b""})
