"""One client connection: uvicorn's HTTP/1.1 protocol on httptools, read strictly and ended gently."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from toolway.hookspecs.serving import KNOWN, WHOLE, ClientConnection, HeaderList, Limits, Refusal, Silence, unreadable
from toolway.plugin import Heads, outbox
from toolway_uvicorn.cycle import Cycle

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger("toolway.edge")

_AHEAD = 64 * 1024
_LENGTH = b"content-length"
Known = tuple[dict[str, Any], HeaderList, int]
"""Of a head that came before: its scope, and which of the headers is Content-Length."""


class UvicornRunner:
    """HTTP/1.1 on httptools, the fastest that Python has."""

    name = "uvicorn"
    alpn: tuple[str, ...] = ("http/1.1",)

    def __init__(self) -> None:
        self._state = ServerState()

    def connection(self, app: ASGIApp, limits: Limits, closed: Callable[[ClientConnection], None]) -> ClientConnection:
        """See `ServerRunner`."""
        config = Config(app, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False)
        config.proxy_headers = False
        return Connection(config, self._state, limits, closed)


class Connection(HttpToolsProtocol, ClientConnection):
    """uvicorn's protocol without its timers, logs and upgrades, and with bounds for what it takes in."""

    scope: Any  # None before the first request, as `cycle`
    cycle: Any
    parser: Any
    pipeline: deque[Any]
    _common: dict[str, Any]

    def __init__(
        self, config: Config, state: ServerState, limits: Limits, closed: Callable[[ClientConnection], None]
    ) -> None:
        self._url: list[bytes] = []
        self.on_url = self._url.append  # type: ignore[assignment]  # called by the parser
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._limits = limits
        self._closed = closed
        self._running: Cycle | None = None
        self._task: asyncio.Task[None] | None = None
        self._requests = self._head_size = self._ahead = 0
        self._is_over = False
        self._heads: Heads[Known] = Heads()
        self.outbox = outbox()

    def connection_made(self, transport: Any) -> None:
        """The handshake, if any, is done."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=self._limits.write_buffer)
        super().on_message_begin()
        self._common, self.scope = self.scope, None
        del self._common["state"]  # of a lifespan, which there is not

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever works for the connection hears of it."""
        self._is_over = True
        self._disconnect()
        self.cycle = self._running = self.parser = None
        self.pipeline.clear()
        self.flow.resume_writing()
        self.connections.discard(self)
        self._closed(self)

    def _disconnect(self) -> None:
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.wake()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; what comes after the end is dropped."""
        if self._is_over:
            return None
        last = self.cycle  # what follows is `waits_for`'s "keep_alive", without its steps: every request comes here
        if last is None or not last.response_complete or last.more_body or last.scope is not self.scope:
            return self._parse(data)
        if (found := self._heads.find(data)) is not None:
            return self._repeat(*found)
        self._parse(data)
        new = self._running
        if new is None or new is last or new is not self.cycle or new.more_body or self.pipeline or not new.keep_alive:
            return None
        self._heads.learn(data, len(new.body), partial(_known, new.scope))

    def _repeat(self, known: Known, length: bytes, body: bytes) -> None:
        """A request with a head that came before."""
        scope, headers, place = known
        headers = headers.copy()
        headers[place] = _LENGTH, length
        self.scope = scope = {**scope, "headers": headers}
        self._requests += 1
        self.cycle = cycle = scope[WHOLE] = Cycle(self, scope, True, body, more_body=False, is_news=True)
        self._start(cycle)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop_after_answer()
        except httptools.HttpParserError as error:
            return self._misread(error)
        if self.cycle is None or self.cycle.scope is not self.scope:
            self._check_incomplete_head(len(data))
        elif self.pipeline:
            self._check_ahead(len(data))

    def _check_incomplete_head(self, size: int) -> None:
        self._head_size += size
        if self.scope is None:
            self.refuse(unreadable(400))
        elif self._head_size > self._limits.head_size:
            self.refuse(unreadable(414 if sum(map(len, self._url)) > self._limits.request_line else 431))

    def _check_ahead(self, size: int) -> None:
        """Nobody reads the body of a request that waits for its turn, so it must be small."""
        self._ahead += size
        if self._ahead > _AHEAD:
            log.debug("a client sends too much ahead of its turn")
            self.abort()

    def _misread(self, error: httptools.HttpParserError) -> None:
        """Malformed bytes: refuse what they belong to, after the answer to what came before them."""
        log.debug("a message is malformed: %s", error)
        cause = error.__context__
        refusal = cause if isinstance(cause, Refusal) else unreadable(400)
        running = self._running
        if running is None or running.response_complete:
            return self.refuse(refusal)
        if running is not self.cycle or not running.more_body:
            return self._stop_after_answer()
        self._disconnect()
        if running.response_started:
            return self.hang_up()
        self.refuse(refusal)

    def _stop_after_answer(self) -> None:
        if self._running is not None:
            self._running.keep_alive = False

    def on_message_begin(self) -> None:
        """A request begins: its scope is like that of the others, but for what is its own."""
        self._url.clear()
        self.headers = []
        self.scope = {**self._common, "headers": self.headers}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of a head."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A request is there: as in uvicorn, without upgrades, for a plain path only."""
        scope, parser = self.scope, self.parser
        scope["path"], scope["raw_path"], scope["query_string"] = _target(b"".join(self._url))
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version = parser.get_http_version()
        self._head_size = 0
        self._requests += 1
        keep_alive = version != "1.0" and parser.should_keep_alive()
        cycle = scope[WHOLE] = Cycle(self, scope, keep_alive)
        is_first = self.cycle is None or self.cycle.response_complete
        self.cycle = cycle
        if is_first:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body = cycle.body + body if cycle.body else body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.is_news = True
            if cycle.waiter is not None:
                cycle.wake()

    def on_message_complete(self) -> None:
        """The end of a request."""
        cycle = self.cycle
        cycle.more_body, cycle.is_news = False, True
        if cycle.waiter is not None:
            cycle.wake()

    def _start(self, cycle: Cycle) -> None:
        self._running = cycle
        # Nothing else keeps the task from being collected; a name is cheaper than the number that it got otherwise.
        self._task = self.loop.create_task(cycle.run(self.app), name="request")

    def write(self, *data: bytes) -> None:
        """Send at once, after what waits."""
        self.outbox.send()
        self.transport.writelines(data)

    def answered(self, cycle: Cycle) -> None:
        """An answer is complete: the next request of the connection, if it is here already and may follow."""
        if not cycle.keep_alive:
            self.hang_up()
        if self._is_over:
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._ahead = 0
            self._start(self.pipeline.pop())

    def hang_up(self) -> None:
        """End after what is already written; the client gets time to read it."""
        if self._is_over:
            return
        self._is_over = True
        self._disconnect()
        self.flow.resume_reading()
        self.outbox.send()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def waits_for(self) -> tuple[Silence, int] | None:
        """See `ClientConnection`."""
        if self._is_over:
            return "linger", 0
        if self.scope is None:
            return "first_byte", 0
        if self._running is not None and not self._running.response_complete:
            return None
        if self.cycle is not None and self.cycle.more_body:
            return "linger", self._requests  # it was answered without its body: why wait for that
        is_in_head = self.cycle is None or self.cycle.scope is not self.scope
        return "head" if is_in_head else "keep_alive", self._requests

    def finish(self) -> None:
        """See `ClientConnection`."""
        waits_for = self.waits_for()
        if waits_for is None:
            self._stop_after_answer()
        elif waits_for[0] != "head":
            self.hang_up()

    def refuse(self, refusal: Refusal) -> None:
        """See `ClientConnection`."""
        self.write(refusal.message())
        self.hang_up()

    def abort(self) -> None:
        """See `ClientConnection`."""
        self._is_over = True
        self._disconnect()
        self.transport.abort()


@lru_cache(maxsize=256)
def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query."""
    if url[:1] != b"/":
        raise Refusal(400, "bad_target", "The request target must be a path without control characters.")
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


def _known(scope: dict[str, Any]) -> Known:
    headers: HeaderList = [*scope["headers"]]
    common = {name: value for name, value in scope.items() if name != WHOLE}
    return {**common, KNOWN: {}}, headers, [name for name, _ in headers].index(_LENGTH)
