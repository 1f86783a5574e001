"""HTTP to one endpoint: authenticated requests, their failures as errors of ours, bounded bodies and event streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import aiohttp

from toolway.bundled.upstreams.channel import MAX_MESSAGE, OPENING_SECONDS, in_time
from toolway.hookspecs.secrets import Challenge
from toolway.mcp.sse import Event, SseParser
from toolway.plugin import UpstreamProtocol, UpstreamUnauthorized, UpstreamUnreachable
from toolway.plugin.http import CONNECT_SECONDS, dial_error

MAX_STREAM = 64 * 1024 * 1024
"""Most bytes of one event stream that answers a request."""

BASE_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
EVENT_STREAM = {"accept": "text/event-stream"}
Authorize = Callable[[Challenge | None], Awaitable[Mapping[str, str]]]
OwnHeaders = Callable[[], Awaitable[Mapping[str, str]]]

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


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
        own_headers: OwnHeaders,
    ) -> None:
        self.upstream = upstream
        self._who = f"upstream {upstream!r}"
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
        seconds: float = OPENING_SECONDS,
        url: str = "",
        held: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; the response's head has come within `seconds`. A 401 or 403 is tried once with new headers.

        Raises:
            UpstreamError: not reachable, not in time, redirected, compressed or unauthorized.
        """
        credentials = await self._authorize(None)
        fields = {**await self._own_headers(), **headers}
        response = await self._once(method, url, {**fields, **credentials}, body, seconds, held)
        if response.status in (401, 403):
            response.close()
            renewed = await self._authorize(Challenge(response.status, response.headers.get("www-authenticate", "")))
            if renewed != credentials:
                response = await self._once(method, url, {**fields, **renewed}, body, seconds, held)
        try:
            self._check(response)
            yield response
        except (aiohttp.ClientError, ConnectionError) as error:
            raise dial_error(error, self._who) from None
        finally:
            response.close()  # after its end this only marks it: the connection is back in the pool already

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, held: bool
    ) -> aiohttp.ClientResponse:
        async with in_time(asyncio.get_running_loop().time() + seconds, self._who):
            try:
                return await self._session(held).request(
                    method, url or self.url, data=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT
                )
            except (aiohttp.ClientError, OSError) as error:
                raise dial_error(error, self._who) from None
            except ValueError:
                raise UpstreamUnreachable(f"a header for {self._who} has a line break") from None

    def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (401, 403):
            raise UpstreamUnauthorized(
                f"{self._who} refused the gateway's credential with {response.status}", sent=False
            )
        if 300 <= response.status < 400:
            raise UpstreamProtocol(
                f"{self._who} answered with a redirect, which is never followed; register the new URL"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamProtocol(f"{self._who} compressed its answer although that was not accepted")


async def events(response: aiohttp.ClientResponse, limit: float = MAX_STREAM) -> AsyncIterator[Event]:
    """The events of an SSE response of at most `limit` bytes; a broken connection ends it."""
    parser, size = SseParser(MAX_MESSAGE), 0
    with suppress(aiohttp.ClientPayloadError, ConnectionError):
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise UpstreamProtocol("the event stream of the upstream is larger than allowed")
            for event in parser.feed(chunk):
                yield event


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether the body is server-sent events."""
    return response.status < 300 and response.content_type == "text/event-stream"
