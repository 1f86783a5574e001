"""HTTP to one endpoint: authenticated requests, refused answers as errors of ours, bounded event streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from toolway.bundled.upstreams.channel import MAX_MESSAGE, OPENING_SECONDS
from toolway.hookspecs.secrets import Challenge
from toolway.mcp.sse import Event, SseParser
from toolway.plugin import UpstreamError, UpstreamProtocol, UpstreamUnauthorized

MAX_STREAM = 64 * 1024 * 1024
"""Most bytes of one event stream that answers a request."""

COMMON: Mapping[str, Mapping[str, str]] = {
    "POST": {"content-type": "application/json", "accept": "application/json, text/event-stream"},
    "GET": {"accept": "text/event-stream"},
    "DELETE": {},
}
"""What every request of a method says in MCP."""

Authorize = Callable[[Challenge | None], Awaitable[Mapping[str, str]]]
OwnHeaders = Callable[[], Awaitable[Mapping[str, str]]]


class Answer(Protocol):
    """The response to one request: its head has come, the body is read once. See `http1.Answer`."""

    status: int

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty when there is none."""

    @property
    def encoding(self) -> str:
        """Of the content; empty when there is none."""

    def header(self, name: str) -> str:
        """The first value of a header, named in lower case; empty when there is none."""

    async def read(self, limit: int) -> bytes:
        """The whole body, after which nothing is left to close.

        Raises:
            UpstreamError: it breaks off or is larger than `limit` bytes.
        """

    async def chunk(self) -> bytes:
        """What has come of the body, as soon as there is something; empty at its end, UpstreamError if it broke off."""

    def close(self) -> None:
        """Give up what has not come yet."""


class Begun(Answer, Protocol):
    """An answer whose `head` has to be awaited first; who does not get it closes it."""

    @property
    def head(self) -> Awaitable[None]:
        """Done when the head has come; raises UpstreamError."""

    def whole(self, limit: int) -> bytes | None:
        """The whole body of at most `limit` bytes, if it has come already: it need not be read then."""


class Transport(Protocol):
    """Carries requests to one endpoint. See `pool.Pool`, and `aio.AiohttpTransport` for HTTP proxies."""

    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None, seconds: float, target: str = ""
    ) -> Answer:
        """The answer, when its head has come within `seconds`; whoever takes it closes it. Raises UpstreamError."""

    def begin(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Begun | None:
        """A POST as of `request`, where it need not wait before it is sent: then whoever calls waits for the head."""


class Wire:
    """One endpoint with the leg's credentials and the upstream's own headers."""

    def __init__(
        self,
        upstream: str,
        url: str,
        calls: Transport,
        streams: Transport,
        authorize: Authorize | None,
        own_headers: OwnHeaders | None,
    ) -> None:
        """Streams that stay open use connections of their own, so that they never block calls.

        `authorize` is None for an upstream that wants no credential.
        """
        self.upstream = upstream
        self.url = url
        self._who = f"upstream {upstream!r}"
        self._calls = calls
        self._streams = streams
        self._authorize = authorize
        self._own_headers = own_headers
        is_free = authorize is None and own_headers is None
        self.begin: Callable[[Mapping[str, str], bytes, float], Begun | None] = calls.begin if is_free else _never
        """A POST as that of `send`, if it can be sent at once; its head has to be awaited and then checked."""

    async def send(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        seconds: float = OPENING_SECONDS,
        target: str = "",
        held: bool = False,
    ) -> Answer:
        """The answer to one request; whoever takes it closes it. After a 401 or 403, new headers are tried once.

        Raises:
            UpstreamError: not reachable, not in time, redirected, compressed or unauthorized.
        """
        transport = self._streams if held else self._calls
        answer = await self._ask(transport, method, headers, body, seconds, target)
        self.check(answer)
        return answer

    async def _ask(
        self,
        transport: Transport,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
        target: str = "",
    ) -> Answer:
        if self._own_headers is not None:
            headers = {**await self._own_headers(), **headers}
        if self._authorize is None:
            return await transport.request(method, headers, body, seconds, target)
        credentials = await self._authorize(None)
        answer = await transport.request(method, {**headers, **credentials}, body, seconds, target)
        if answer.status in (401, 403):
            answer.close()
            renewed = await self._authorize(Challenge(answer.status, answer.header("www-authenticate")))
            if renewed != credentials:
                answer = await transport.request(method, {**headers, **renewed}, body, seconds, target)
        return answer

    def check(self, answer: Answer) -> None:
        """Close and refuse what is no answer; raises UpstreamError."""
        if answer.status in (401, 403):
            answer.close()
            raise UpstreamUnauthorized(f"{self._who} refused the gateway's credential with {answer.status}", sent=False)
        if 300 <= answer.status < 400:
            answer.close()
            what = "answered with a redirect, which is never followed; register the new URL"
            raise UpstreamProtocol(f"{self._who} {what}")
        if answer.encoding not in ("", "identity"):
            answer.close()
            raise UpstreamProtocol(f"{self._who} compressed its answer although that was not accepted")


def _never(headers: Mapping[str, str], body: bytes, seconds: float) -> None:
    """Somebody has to be asked first."""


class Events:
    """The events of an SSE answer of at most `limit` bytes; no generator, which the event loop would keep a list of."""

    def __init__(self, answer: Answer, limit: float = MAX_STREAM) -> None:
        self._answer, self._left, self._parser = answer, limit, SseParser(MAX_MESSAGE)

    async def more(self) -> list[Event] | None:
        """What came next, perhaps none yet; None at the end, also of a broken connection. Raises UpstreamProtocol."""
        try:
            chunk = await self._answer.chunk()
        except UpstreamError:
            return None
        self._left -= len(chunk)
        if self._left < 0:
            raise UpstreamProtocol("the event stream of the upstream is larger than allowed")
        return self._parser.feed(chunk) if chunk else None


def is_stream(answer: Answer) -> bool:
    """Whether the body is server-sent events."""
    return answer.status < 300 and answer.content_type == "text/event-stream"
