"""The outermost ASGI application: refuses what is malformed, foreign or too much, and knows what is in flight."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from email.utils import formatdate
from time import monotonic
from typing import Any, NoReturn

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolway.edge.head import CODINGS, DIGITS, Fields, bad_length, check_codings, check_head, too_large
from toolway.edge.names import CORS, PREFLIGHT, Names
from toolway.edge.proxies import FORWARDED, Proxies
from toolway.edge.settings import EdgeSettings
from toolway.hookspecs.serving import CLOSE, FIELDS, KNOWN, NOSNIFF, WHOLE, HeaderList, Refusal, Whole
from toolway.hookspecs.structs import Mutable
from toolway.hookspecs.telemetry import SERVED, Served

log = logging.getLogger("toolway.edge")

_RARE = CODINGS | FORWARDED | {b"origin"}
_KNOWN_HOSTS = 256

STEP = 500
"""Connections or requests that are looked at before others are served: ten thousand would take 10 ms."""


class Edge:
    """Wraps the gateway for any ASGI server. Assign `app` to swap it; requests in flight stay with the old one.

    `bind` is the configured `host:port`, `public_url` what clients are told: both name the gateway. `sweep` must be
    gone through about once a second.
    """

    def __init__(self, app: ASGIApp, settings: EdgeSettings, *, bind: str, public_url: str = "") -> None:
        self.app = app
        self.settings = settings
        self.proxies = Proxies(settings.trusted_proxies)
        self.in_flight: set[Exchange] = set()
        self.draining = False
        self.headers: HeaderList = []
        self.limits = settings.limits
        self._root_path = settings.root_path
        self._names = Names(settings, bind, public_url)
        self._known_hosts: set[bytes] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._write_headers()

    @property
    def drain_delay(self) -> float:
        """Seconds between "not ready" and the end of accepting, for load balancers to notice; loopback has none."""
        if self.settings.drain_delay is not None:
            return self.settings.drain_delay
        return 0.0 if self._names.are_loopback else 5.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI for HTTP: exactly one well-formed answer, whatever comes from either side."""
        self._loop = self._loop or asyncio.get_running_loop()  # asks the system each time
        if SERVED.get() is not None:
            SERVED.set(None)  # of the request before on this connection, within which this one was read
        exchange = Exchange(self, scope, receive, send, asyncio.current_task(self._loop), scope.get(WHOLE))
        self.in_flight.add(exchange)
        scope[WHOLE] = exchange
        try:
            known: dict[Any, Any] = scope.get(KNOWN, {})
            fields = scope[FIELDS] = known.get(self) or check_head(scope, self.limits)
            if (self in known and not self.draining) or self._admits(exchange, fields, known):
                app = self.app  # as a method, the interpreter would look for it each time
                try:
                    await app(scope, exchange.receive, exchange.send)
                    if not exchange.finished:
                        exchange.complain()
                except BaseException as error:
                    if exchange.served is not None:
                        exchange.served.error, exchange.served.outcome = error, "error"
                    raise
            else:
                await exchange.reply(204, PREFLIGHT)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except asyncio.CancelledError:
            if not exchange.stopped:
                raise
            await exchange.end()
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a clean answer
            await exchange.fail(error)
        finally:
            self.in_flight.discard(exchange)
            del scope[WHOLE]  # each refers to the other: together they would wait for the collector
            if exchange.served is not None:
                exchange.served.seconds = monotonic() - exchange.shown
                SERVED.set(None)  # timers that are set from now on are nobody's
                for over in exchange.over:
                    over(exchange.served)

    def _admits(self, exchange: Exchange, fields: Fields, known: dict[Any, Any]) -> bool:
        """Whether the request goes on to the application, as all but preflights do; raises `Refusal` if it must not.

        A head with nothing rare in it becomes known, and is not looked at again.
        """
        scope, host = exchange.scope, fields[b"host"]
        is_rare = not _RARE.isdisjoint(fields)
        if host not in self._known_hosts:
            if not self._names.allows_host(host, (scope.get("server") or (None,))[0]):
                what = "This host is not served here; the operator can add it to allowed_hosts."
                raise Refusal(421, "wrong_host", what)
            if len(self._known_hosts) < _KNOWN_HOSTS:
                self._known_hosts.add(host)
        if is_rare:
            self._check_rare(exchange, fields)
        if self._root_path:
            self._complete_path(scope)
        if self.draining and scope["path"] == f"{self._root_path}/ready":
            raise Refusal(503, "draining", "The gateway is stopping.", retry_after=1)
        if exchange.cors and scope["method"] == "OPTIONS" and b"access-control-request-method" in fields:
            return False
        is_repeated = len(fields) != len(scope["headers"])
        length = fields.pop(b"content-length", b"0")
        if len(length) > DIGITS or not length.isdigit() or int(length) > self.limits.body:
            raise bad_length(length, self.limits)
        if not (is_rare or is_repeated or self._root_path):
            known[self] = fields
        return True

    def _check_rare(self, exchange: Exchange, fields: Fields) -> None:
        """What most requests do not have: codings of the body, proxies on the way, a browser with another page."""
        check_codings(fields)
        self.proxies.apply(exchange.scope, fields)
        origin = fields.get(b"origin")
        if origin is None:
            return
        if not self._names.allows_origin(origin, exchange.scope["scheme"], fields[b"host"]):
            raise Refusal(403, "wrong_origin", "This origin may not call; the operator can add it to allowed_origins.")
        exchange.cors = ((b"access-control-allow-origin", origin), *CORS)

    def _complete_path(self, scope: Scope) -> None:
        """The path with its prefix, as ASGI has it, whether or not the proxy has removed it."""
        root = scope["root_path"] = self._root_path
        if not scope["path"].startswith(root + "/"):
            scope["path"] = root + scope["path"]
            scope["raw_path"] = root.encode() + (scope.get("raw_path") or b"")

    def sweep(self) -> Iterator[None]:
        """See that answers carry the right date, and refuse, in steps, whoever takes too long to send a body."""
        self._write_headers()
        now = monotonic()
        for number, exchange in enumerate(list(self.in_flight), start=1):
            if number % STEP == 0:
                yield
            if exchange.asked and exchange.is_late(now):
                exchange.stop(Refusal(408, "body_too_slow", "The request body did not arrive in time."))

    def _write_headers(self) -> None:
        self.headers = [(b"date", formatdate(usegmt=True).encode()), NOSNIFF, *([CLOSE] if self.draining else [])]

    def drain(self) -> None:
        """Before a stop: /ready is 503, no connection is used for another request."""
        self.draining = True
        self._write_headers()

    def end_streams(self) -> None:
        """End every unsolicited event stream (GET) with a clean last chunk."""
        for exchange in self.in_flight:
            if exchange.is_stream and exchange.scope["method"] == "GET":
                exchange.stop()

    def end_all(self) -> None:
        """End everything in flight: streams with a clean last chunk, unanswered requests with 503."""
        for exchange in self.in_flight:
            exchange.stop()


class Exchange(msgspec.Struct, eq=False, metaclass=Mutable):
    """One request on its way through the door: `receive` and `send` for the application behind it.

    `answered` are the headers of an answer that has begun, `gone` says that the client has left. `asked` is when the
    application began to wait for a piece of the body, in monotonic seconds, `first_asked` for the first one. `served`
    is for who watches since it was `shown` (monotonic seconds): it gets the status, its headers go out too, and in the
    end it is told to `over`.
    """

    edge: Edge
    scope: Scope
    receive_raw: Receive
    send_raw: Send
    task: asyncio.Task[Any] | None
    whole: Whole | None
    served: Served | None = None
    over: tuple[Callable[[Served], None], ...] = ()
    shown: float = 0.0
    answered: HeaderList | None = None
    finished: bool = False
    gone: bool = False
    stopped: bool = False
    refusal: Refusal | None = None
    cors: Sequence[tuple[bytes, bytes]] = ()
    is_read: bool = False
    received: int = 0
    first_asked: float = 0.0
    asked: float = 0.0

    async def receive(self) -> Message:
        """ASGI `receive`; raises `Refusal`: 413 (too large) or 400 (the server could not read it)."""
        if self.refusal is not None:
            raise self.refusal
        if self.is_read:
            message = await self.receive_raw()
        else:
            self.asked = monotonic()
            self.first_asked = self.first_asked or self.asked
            try:
                message = await self.receive_raw()
            except Exception as error:
                log.debug("the server could not read a request body", exc_info=error)
                self._refuse(Refusal(400, "bad_body", "The request body is malformed."))
            self.asked = 0.0
        if message["type"] == "http.request":
            self.is_read = not message.get("more_body", False)
            self.received += len(message.get("body", b""))
            if self.received > self.edge.limits.body:
                self._refuse(too_large(self.edge.limits))
        else:
            self.gone = True
        return message

    def take(self) -> bytes | None:
        """See `Whole`; raises `Refusal` as `receive` does."""
        if self.refusal is not None:
            raise self.refusal
        body = self.whole.take() if self.whole is not None else None
        if body is not None:
            self.is_read, self.received = True, len(body)
            if self.received > self.edge.limits.body:
                self._refuse(too_large(self.edge.limits))
        return body

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """See `Whole`; with the headers of the door, and nothing after a refusal, as `send`."""
        if self.whole is None or self.refusal is not None or self.answered is not None or self.edge.draining:
            return False
        self.finished = self.whole.answer(status, self._completed(status, headers), body)
        if self.finished:
            self.answered = headers
        return self.finished

    def _completed(self, status: int, headers: HeaderList) -> HeaderList:
        if self.served is None:
            return [*headers, *self.cors, *self.edge.headers]
        self.served.status = status
        return [*headers, *self.served.headers, *self.cors, *self.edge.headers]

    def is_late(self, now: float) -> bool:
        """Whether the application waits for a piece of the body for too long."""
        gap, total = now - self.asked, now - self.first_asked
        return self.asked > 0 and (gap >= self.edge.limits.body_gap or total >= self.edge.limits.body_total)

    def _refuse(self, refusal: Refusal) -> NoReturn:
        """An application that swallows the refusal cannot answer something else instead."""
        self.refusal = refusal
        raise refusal from None

    async def send(self, message: Message) -> None:
        """ASGI `send` with the headers of the door; nothing goes out after a refusal but the refusal."""
        if message["type"] == "http.response.start":
            if self.refusal is not None:
                return
            self.answered = headers = message.get("headers") or []
            message = {**message, "headers": self._completed(message["status"], headers)}
        elif self.answered is None:
            return
        elif not message.get("more_body", False):
            self.finished = True
        try:
            await self.send_raw(message)
        except OSError:
            self.gone = True
            raise

    @property
    def is_stream(self) -> bool:
        """Whether the answer has begun and is an event stream."""
        return dict(self.answered or ()).get(b"content-type", b"").startswith(b"text/event-stream")

    def complain(self) -> None:
        """The application is done without an answer: raises what was refused, or `RuntimeError` for a real omission."""
        if self.refusal is not None:
            raise self.refusal
        if self.answered is None and not self.gone:
            raise RuntimeError(f"the application did not answer {self.scope['method']} {self.scope['path']}")

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal and close the connection."""
        self.refusal = None
        await self.reply(refusal.status, refusal.headers, refusal.body)

    async def fail(self, error: Exception) -> None:
        """Answer 500 with an error id that the log has together with the exception; the client sees no more."""
        if self.gone:
            return log.debug("the client left: %s", type(error).__name__)
        error_id = secrets.token_hex(8)
        log.error("a request failed unexpectedly, error id %s", error_id, exc_info=error, extra={"error_id": error_id})
        await self.refuse(Refusal(500, "internal_error", "The gateway failed; its log has more.", error_id=error_id))

    async def reply(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """A whole answer of the door, unless another has begun or nobody is there to read it."""
        if self.answered is None and not self.gone:
            with suppress(OSError):
                await self.send({"type": "http.response.start", "status": status, "headers": headers})
                await self.send({"type": "http.response.body", "body": body})

    def stop(self, refusal: Refusal | None = None) -> None:
        """Take the application off the request; then `end` answers with the refusal, if one is given."""
        if self.task is not None and not self.stopped:
            self.stopped = True
            self.refusal = self.refusal or refusal
            self.task.cancel()

    async def end(self) -> None:
        """Finish an event stream cleanly; any other answer that has begun stays visibly incomplete."""
        if self.task is not None:
            self.task.uncancel()
        if self.answered is None:
            await self.refuse(self.refusal or Refusal(503, "stopping", "The gateway is stopping.", retry_after=1))
        elif self.is_stream and self.refusal is None and not (self.finished or self.gone):
            with suppress(OSError):
                await self.send({"type": "http.response.body", "body": b""})
