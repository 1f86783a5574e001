"""The limit reference: the least work that an MCP gateway can do for a call in Python and still be one.

Token cache, compiled hook chains, a tool table with namespaced names, power-of-two choice between endpoints with a
moving average, a breaker check, the envelope re-encoded with arguments untouched, counters, a histogram, an access log
ring. No sessions, no limits, no `initialize`. ASGI app `app`; `UPSTREAM` (the URL),
`TOKEN` and `CLIENT` (`raw` or `aiohttp`) come from the environment.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
import os
import random
import time
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UPSTREAM = os.environ["UPSTREAM"]
TOKEN = os.environ["TOKEN"].encode()
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
Hook = Callable[[Any, Any], bytes | None]


class Rpc(msgspec.Struct):
    """The envelope: only its own members are decoded."""

    jsonrpc: str = "2.0"
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    method: str = ""
    params: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct):
    """Tells an error from a result; everything else is skipped."""

    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Endpoint:
    """One replica with what the choice needs to know about it."""

    def __init__(self, url: str) -> None:
        self.url, self.average, self.in_flight, self.open_until = url, 0.001, 0, 0.0


class Tool:
    """One namespaced tool with its counters."""

    def __init__(self, endpoints: list[Endpoint], own_name: str) -> None:
        self.endpoints, self.raw_name = endpoints, msgspec.Raw(msgspec.json.encode(own_name))
        self.calls, self.errors, self.seconds, self.histogram = 0, 0, 0.0, [0] * (len(BOUNDS) + 1)


class Principal(msgspec.Struct):
    """Who a token stands for, until when (monotonic seconds)."""

    subject: str
    expires: float


def _plugin(context: object, payload: object) -> bytes | None:
    return None


class Gateway:
    """One upstream called `echo` among twenty, each with three endpoints and fifty tools."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, Principal] = OrderedDict()
        self._log: deque[tuple[float, float, int, str]] = deque(maxlen=65_536)
        self._before: tuple[Hook, ...] = (_plugin,) * 5
        self._after: tuple[Hook, ...] = (_plugin,) * 5
        self._tools = self._table()
        self._decode, self._encode = msgspec.json.Decoder(Rpc).decode, msgspec.json.Encoder().encode
        self._peek, self._name = msgspec.json.Decoder(Answer).decode, msgspec.json.Decoder(str).decode
        self._post: Post | None = None

    @staticmethod
    def _table() -> dict[str, Tool]:
        servers = {f"s{number}": [Endpoint(UPSTREAM) for _ in range(3)] for number in range(20)}
        tools = {f"{name}__t{j}": Tool(endpoints, f"t{j}") for name, endpoints in servers.items() for j in range(50)}
        return tools | {"echo__echo": Tool([Endpoint(UPSTREAM) for _ in range(3)], "echo")}

    async def answer(self, authorization: bytes, body: bytes) -> tuple[int, bytes]:
        """The hot path: HTTP status and body."""
        begin = time.perf_counter()
        principal = self._principal(authorization)
        if principal is None:
            return 401, self._error(None, -32001, "unauthorized")
        try:
            rpc = self._decode(body)
            tool = self._tools[self._name(rpc.params["name"])]  # type: ignore[index]
        except (msgspec.DecodeError, KeyError, TypeError):
            return 400, self._error(None, -32602, "not a call of a known tool")
        for hook in self._before:
            if (short := hook(principal, rpc)) is not None:
                return 200, short
        rpc.params["name"] = tool.raw_name  # type: ignore[index]
        status, data = await self._forward(tool, self._encode(rpc), begin)
        tool.errors += self._peek(data).error is not msgspec.UNSET
        for hook in self._after:
            data = hook(principal, data) or data
        self._log.append((begin, time.perf_counter() - begin, status, principal.subject))
        return status, data

    async def _forward(self, tool: Tool, body: bytes, begin: float) -> tuple[int, bytes]:
        endpoint = _pick(tool.endpoints, begin)
        post = self._post or self._open()
        endpoint.in_flight += 1
        try:
            return await post(body)
        finally:
            endpoint.in_flight -= 1
            took = time.perf_counter() - begin
            endpoint.average += (took - endpoint.average) * 0.1
            tool.calls += 1
            tool.seconds += took
            tool.histogram[bisect_left(BOUNDS, took)] += 1

    def _principal(self, header: bytes) -> Principal | None:
        key = hashlib.sha256(header).digest()
        principal = self._tokens.get(key)
        if principal is not None and principal.expires > time.monotonic():
            return principal
        if not hmac.compare_digest(header, b"Bearer " + TOKEN):
            return None
        principal = self._tokens[key] = Principal("user-1", time.monotonic() + 3600)
        return principal

    def _error(self, request_id: int | str | None, code: int, message: str) -> bytes:
        return self._encode({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})

    def _open(self) -> Post:
        self._post = _aiohttp() if os.environ.get("CLIENT") == "aiohttp" else _raw()
        return self._post


def _pick(endpoints: list[Endpoint], now: float) -> Endpoint:
    """The better of two that chance chooses, or any other while that one is ejected."""
    count = len(endpoints)
    first = int(random.random() * count)
    one, other = endpoints[first], endpoints[(first + 1 + int(random.random() * (count - 1))) % count]
    better = one if one.average * (one.in_flight + 1) <= other.average * (other.in_flight + 1) else other
    return better if better.open_until <= now else next(each for each in endpoints if each.open_until <= now)


def _raw() -> Post:
    from upstream_pool import Pool

    parts = urlsplit(UPSTREAM)
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return Pool(str(parts.hostname), parts.port or 80, parts.path, lines).post


def _aiohttp() -> Post:
    import aiohttp
    import yarl

    url = yarl.URL(UPSTREAM, encoded=True)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    )

    async def post(body: bytes) -> tuple[int, bytes]:
        response = await session.post(url, data=body, headers=HEADERS, allow_redirects=False)
        return response.status, await response.read()

    return post


GATEWAY = Gateway()


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Pure ASGI, without a framework; answers every POST as a call."""
    authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    status, data = await GATEWAY.answer(authorization, body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)
