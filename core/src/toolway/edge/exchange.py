"""One request on its way through the door: the body within size and time, and exactly one well-formed answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable

from starlette.types import Message, Receive, Scope, Send

from toolway.edge.framing import Watched, body_length
from toolway.edge.problem import HeaderList, Refusal, problem, problem_headers
from toolway.edge.settings import Limits

log = logging.getLogger("toolway.edge")

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_CLOSE = (b"connection", b"close")


class Exchange:
    """`receive` and `send` for the application behind the door."""

    __slots__ = (
        "_deadline",
        "_limits",
        "_receive",
        "_received",
        "_send",
        "body_left",
        "cors",
        "ending",
        "finished",
        "gone",
        "is_closing",
        "is_sized",
        "is_stream",
        "refusal",
        "scope",
        "started",
        "taken",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline: float | None = None
        self._received = 0
        self.body_left: int | None = 0  # bytes still to come; None while a chunked body has not ended
        self.taken = False  # the end of the body was handed to the application
        self.cors: HeaderList = []
        self.refusal: Refusal | None = None
        self.is_closing = False  # answer with "Connection: close"
        self.is_sized = self.is_stream = False  # the answer has a length; it is an unsolicited event stream
        self.started = self.finished = self.gone = self.ending = False

    def expect_body(self, seen: Watched) -> None:
        """Raises `Refusal` (413) if the announced body is too large."""
        self.body_left = body_length(seen)
        if (self.body_left or 0) > self._limits.body:
            raise self._too_large()

    async def receive(self) -> Message:
        """ASGI `receive`; raises `Refusal`: 408 (too slow), 413 (too large) or 400 (the server could not read it)."""
        if self.refusal is not None:
            raise self.refusal
        if self.taken:
            return await self._after_body()
        message = await self._next_message()
        if message["type"] != "http.request":
            self.gone = True
            return message
        return self._count(message)

    async def _after_body(self) -> Message:
        while (message := await self._receive())["type"] == "http.request":
            pass
        self.gone = True
        return message

    async def _next_message(self) -> Message:
        if self.body_left == 0:
            return await self._receive()
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._deadline is None:
            self._deadline = now + self._limits.body_total
        try:
            async with asyncio.timeout_at(min(self._deadline, now + self._limits.body_gap)):
                return await self._receive()
        except TimeoutError:
            raise self._refuse(Refusal(408, "body_too_slow", "The request body did not arrive in time.")) from None
        except Exception as error:
            log.debug("the server could not read a request body", exc_info=error)
            raise self._refuse(Refusal(400, "bad_body", "The request body is malformed.")) from None

    def _count(self, message: Message) -> Message:
        body = message.get("body", b"")
        self._received += len(body)
        if self._received > self._limits.body:
            raise self._too_large()
        if self.body_left is not None:
            self.body_left -= len(body)
        more = message.get("more_body", False) and self.body_left != 0
        self.taken = not more
        return {"type": "http.request", "body": body, "more_body": more}

    def _refuse(self, refusal: Refusal) -> Refusal:
        self.refusal = refusal
        return refusal

    def _too_large(self) -> Refusal:
        return self._refuse(Refusal(413, "body_too_large", f"A request body may have {self._limits.body} bytes."))

    async def send(self, message: Message) -> None:
        """ASGI `send`; an application that swallowed a refusal cannot answer something else instead."""
        if self.refusal is not None and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._complete(message.get("headers", ()))}
        elif not message.get("more_body", False):
            self.finished = True
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
        complete = [*headers, *self.cors]
        names = {name for name, _ in complete}
        self.is_sized = b"content-length" in names
        self.is_stream = self.scope["method"] == "GET" and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in complete
        )
        if b"x-content-type-options" not in names:
            complete.append(_NOSNIFF)
        if self.is_closing and b"connection" not in names:
            complete.append(_CLOSE)
        return complete

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, unless an answer has begun or nobody is there to read it."""
        self.refusal = None
        self.is_closing = True
        await self.answer(refusal.status, problem(refusal.status, refusal.code, refusal.detail), refusal.headers)

    async def fail(self, error: Exception) -> None:
        """Answer 500 with an error id that the log has together with the exception; the client sees no more."""
        if self.gone:
            log.debug("the client left: %s", type(error).__name__)
            return
        error_id = secrets.token_hex(8)
        log.error("a request failed unexpectedly, error id %s", error_id, exc_info=error, extra={"error_id": error_id})
        body = problem(500, "internal_error", "The gateway failed; its log has more under the error id.", error_id)
        await self.answer(500, body)

    async def answer(self, status: int, body: bytes, headers: HeaderList | None = None) -> None:
        """A whole answer of the door; a problem body if it is not empty."""
        if self.started or self.gone:
            return
        fields = [*(problem_headers(body) if body else ()), *(headers or ())]
        with contextlib.suppress(OSError):
            await self.send({"type": "http.response.start", "status": status, "headers": fields})
            await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def end(self) -> None:
        """The node stops: finish a stream cleanly; an answer of known length stays visibly incomplete."""
        if not self.started:
            await self.refuse(Refusal(503, "stopping", "The gateway is stopping.", headers=[(b"retry-after", b"1")]))
        elif not (self.finished or self.gone or self.is_sized):
            with contextlib.suppress(OSError):
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})
