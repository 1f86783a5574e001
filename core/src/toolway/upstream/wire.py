"""HTTP to one endpoint: authenticated requests, their failures as errors of ours, bounded bodies and event streams."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from toolway.errors import UpstreamProtocol, UpstreamTimeout, UpstreamUnauthorized, UpstreamUnreachable
from toolway.hookspecs.secrets import Challenge
from toolway.mcp.sse import Event, SseParser
from toolway.upstream.channel import MAX_MESSAGE
from toolway.upstream.outgoing import CONNECT_SECONDS, dial_error

MAX_STREAM = 64 * 1024 * 1024
"""Most bytes of one event stream that answers a request."""

BASE_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
EVENT_STREAM = {"accept": "text/event-stream"}
Authorize = Callable[[Challenge | None], Awaitable[Mapping[str, str]]]

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Wire:
    """One endpoint URL with the leg's credentials and the upstream's own headers.

    `session(held)` gives the client; streams that stay open use another pool than calls, so that they never block them.
    """

    def __init__(
        self,
        upstream: str,
        session: Callable[[bool], aiohttp.ClientSession],
        url: str,
        authorize: Authorize,
        own_headers: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self.upstream = upstream
        self.url = url
        self._session = session
        self._authorize = authorize
        self._own_headers = own_headers

    @asynccontextmanager
    async def send(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        seconds: float,
        url: str = "",
        held: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; the response's head has come within `seconds`. A 401 or 403 is tried once with new headers.

        Raises:
            UpstreamError: not reachable, not in time, redirected, compressed or unauthorized.
        """
        target = url or self.url
        response = await self._authorized(method, target, headers, body, seconds, held)
        try:
            self._check(response)
            yield response
        except (aiohttp.ClientError, ConnectionError) as error:
            raise dial_error(error, f"upstream {self.upstream!r}") from None
        finally:
            response.close()  # after its end this only marks it: the connection is back in the pool already

    async def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, held: bool
    ) -> aiohttp.ClientResponse:
        fields = {**await self._own_headers(), **headers}
        credentials = await self._authorize(None)
        response = await self._once(method, url, {**fields, **credentials}, body, seconds, held)
        if response.status not in (401, 403):
            return response
        challenge = Challenge(response.status, response.headers.get("www-authenticate", ""))
        response.close()
        renewed = await self._authorize(challenge)
        if renewed == credentials:
            raise self._unauthorized(response.status)
        return await self._once(method, url, {**fields, **renewed}, body, seconds, held)

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, held: bool
    ) -> aiohttp.ClientResponse:
        for name, value in headers.items():
            if _UNSAFE.search(value):
                raise UpstreamUnreachable(f"header {name} for upstream {self.upstream!r} has control characters")
        try:
            async with asyncio.timeout(seconds):
                return await self._session(held).request(
                    method, url, data=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT
                )
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                message = f"upstream {self.upstream!r} did not begin to answer within {seconds:g} s"
                raise UpstreamTimeout(message) from None
            raise dial_error(error, f"upstream {self.upstream!r}") from None

    def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (401, 403):
            raise self._unauthorized(response.status)
        if 300 <= response.status < 400:
            raise UpstreamProtocol(
                f"upstream {self.upstream!r} answered with a redirect, which is never followed; register the new URL"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamProtocol(f"upstream {self.upstream!r} compressed its answer although that was not accepted")

    def _unauthorized(self, status: int) -> UpstreamUnauthorized:
        message = f"upstream {self.upstream!r} refused the gateway's credential with {status}"
        return UpstreamUnauthorized(message, sent=False)


async def read_body(response: aiohttp.ClientResponse, limit: int = MAX_MESSAGE) -> bytes:
    """The whole body; raises UpstreamProtocol above `limit` bytes."""
    if (response.content_length or 0) > limit:
        raise UpstreamProtocol(f"the answer of the upstream is larger than {limit} bytes")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise UpstreamProtocol(f"the answer of the upstream is larger than {limit} bytes")
    return bytes(body)


class EventStream:
    """Iterates over the events of an SSE response; a broken connection ends it."""

    def __init__(self, response: aiohttp.ClientResponse, limit: float = MAX_STREAM) -> None:
        self._content = response.content
        self._parser = SseParser(MAX_MESSAGE)
        self._ready: deque[Event] = deque()
        self._left = limit

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            chunk = await self._chunk()
            if not chunk:
                raise StopAsyncIteration
            self._left -= len(chunk)
            if self._left < 0:
                raise UpstreamProtocol("the event stream of the upstream is larger than allowed")
            self._ready.extend(self._parser.feed(chunk))
        return self._ready.popleft()

    async def _chunk(self) -> bytes:
        try:
            return await self._content.readany()
        except (aiohttp.ClientPayloadError, ConnectionError):
            return b""


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether the body is server-sent events."""
    return response.content_type == "text/event-stream"


def is_json(response: aiohttp.ClientResponse) -> bool:
    """Whether the body says that it is JSON."""
    return response.content_type == "application/json"
