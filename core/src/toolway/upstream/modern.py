"""A conversation in MCP 2026-07-28: every request stands alone, over HTTP or a process's pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway import __version__
from toolway.errors import UpstreamError, UpstreamProtocol
from toolway.hookspecs.routing import Discovery, Eras, Leg, Peer, Reply, RpcFault, UpstreamRequest, Wants
from toolway.mcp.errors import UNSUPPORTED_VERSION
from toolway.mcp.headers import encode_header_value
from toolway.mcp.messages import encode_request
from toolway.mcp.versions import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    MODERN,
    PROTOCOL_VERSION_KEY,
    SERVER_INFO_KEY,
)
from toolway.upstream.channel import OPENING_SECONDS, Channel, Outbound, Patience, matched, read_message, refusal
from toolway.upstream.discover import Hello, discover, read_hello
from toolway.upstream.watch import Watch
from toolway.upstream.wire import BASE_HEADERS, EventStream, Wire, is_json, is_stream, read_body

IDENTITY = {"name": "toolway", "title": "Toolway", "version": __version__}
LISTEN = "subscriptions/listen"


class ModernHttp:
    """The stateless channel: one POST per request, answered as JSON or SSE."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._serial = 0

    async def call(self, outbound: Outbound) -> Reply:
        """POST and read until the response; leaving early closes the connection, which cancels upstream."""
        self._serial += 1
        request_id = self._serial
        body = encode_request(request_id, outbound.method, outbound.params)
        headers = {**BASE_HEADERS, "mcp-method": outbound.method, **outbound.headers}
        held = outbound.method == LISTEN
        async with (
            Patience(outbound, self._wire.upstream) as patience,
            self._wire.send("POST", headers, body, seconds=outbound.first_byte, held=held) as response,
        ):
            patience.begun()
            if is_stream(response) and response.status < 300:
                return await self._read(EventStream(response, *((float("inf"),) if held else ())), request_id, outbound)
            if response.status >= 300:
                return refusal(response.status, await read_body(response))
            if not is_json(response):
                raise UpstreamProtocol(f"upstream {self._wire.upstream!r} answered neither JSON nor an event stream")
            return matched(read_message(await read_body(response)), request_id, modern=True)

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """Modern HTTP has no notifications of the client (MCP 2026-07-28, transports)."""
        raise UpstreamProtocol(f"{method} cannot be sent to upstream {self._wire.upstream!r}: it speaks 2026-07-28")

    async def close(self) -> None:
        """There is nothing to end."""

    async def _read(self, events: EventStream, request_id: int, outbound: Outbound) -> Reply:
        async for event in events:
            if not event.data:
                continue
            message = read_message(event.data)
            if message.method is UNSET or message.id is not UNSET:
                return matched(message, request_id, modern=True)
            outbound.peer.notify(message.method, message.members)
        raise UpstreamError(f"upstream {self._wire.upstream!r} ended before its answer; the outcome is unknown")


class ModernConnection:
    """`Connection` of the modern era over any channel."""

    def __init__(self, leg: Leg, channel: Channel, upstream: str) -> None:
        self._leg = leg
        self._channel = channel
        self._upstream = upstream
        self._version = leg.version if leg.version in MODERN else MODERN[0]
        self._watch = Watch(leg.peer, self._listen, upstream)

    async def discover(self) -> Discovery:
        """`server/discover`, then all lists."""
        hello = await self._hello()
        eras = Eras(modern=self._version)
        return await discover(self._upstream, eras, hello, hello.meta.get(SERVER_INFO_KEY), self._ask)

    async def greet(self) -> str:
        """The version that the upstream speaks; raises UpstreamError when it does not speak this era."""
        await self._hello()
        return self._version

    async def request(self, request: UpstreamRequest) -> Reply:
        """See `Connection.request`."""
        headers = dict(request.headers)
        if request.name is not None:
            headers["mcp-name"] = encode_header_value(request.name)
        return await self._send(
            Outbound(request.method, request.params, request.peer, headers, request.first_byte, request.deadline),
            request.meta,
        )

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Connection.notify`."""
        await self._channel.tell(method, params)

    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`."""
        await self._watch.set(wants)

    async def close(self) -> None:
        """See `Connection.close`."""
        await self._watch.stop()
        await self._channel.close()

    async def _hello(self) -> Hello:
        hello = read_hello(await self._ask("server/discover", {}))
        if self._version not in hello.supported_versions:
            raise UpstreamProtocol(f"upstream {self._upstream!r} speaks none of {', '.join(MODERN)}")
        return hello

    async def _ask(self, method: str, params: dict[str, Raw]) -> Reply:
        deadline = time.monotonic() + OPENING_SECONDS
        return await self._send(Outbound(method, params, self._leg.peer, deadline=deadline), {})

    async def _send(self, outbound: Outbound, meta: Mapping[str, Raw]) -> Reply:
        """Send with `_meta` and version; once more when the upstream wants another version that is known."""
        reply = await self._channel.call(self._complete(outbound, meta))
        if reply.fault is not None and reply.fault.code == UNSUPPORTED_VERSION:
            common = [version for version in MODERN if version in _supported(reply.fault)]
            if common and common[0] != self._version:
                self._version = common[0]
                return await self._channel.call(self._complete(outbound, meta))
        return reply

    def _complete(self, outbound: Outbound, meta: Mapping[str, Raw]) -> Outbound:
        client = self._leg.client
        full = {
            CLIENT_CAPABILITIES_KEY: client.capabilities,
            CLIENT_INFO_KEY: identity(client.info),
            **meta,
            PROTOCOL_VERSION_KEY: self._version,
        }
        return msgspec.structs.replace(
            outbound,
            params={**outbound.params, "_meta": Raw(msgspec.json.encode(full))},
            headers={**outbound.headers, "mcp-protocol-version": self._version},
        )

    async def _listen(self, wants: Wants, ready: Callable[[], None]) -> bool:
        """One `subscriptions/listen` until it ends (MCP 2026-07-28, subscriptions)."""
        wanted: dict[str, Any] = {
            "toolsListChanged": wants.tools,
            "promptsListChanged": wants.prompts,
            "resourcesListChanged": wants.resources,
            "resourceSubscriptions": sorted(wants.uris),
        }
        asked = Raw(msgspec.json.encode({key: value for key, value in wanted.items() if value}))
        peer = _Subscriber(self._leg.peer, ready)
        reply = await self._send(Outbound(LISTEN, {"notifications": asked}, peer), {})
        return reply.fault is None


class _Subscriber:
    """The peer of a listen request: the acknowledgement is ours, changes belong to the leg."""

    def __init__(self, peer: Peer, ready: Callable[[], None]) -> None:
        self._peer = peer
        self._ready = ready

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass on changes only: nothing else travels on this stream."""
        if method == "notifications/subscriptions/acknowledged":
            self._ready()
        elif method.endswith(("/list_changed", "/updated")):
            self._peer.notify(method, {key: value for key, value in params.items() if key != "_meta"})

    async def ask(self, method: str, params: Raw) -> Raw:
        """Modern servers ask by their results; a process may break the rule, then the leg decides."""
        return await self._peer.ask(method, params)


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """The client's own `clientInfo`; the gateway's where it lacks what the schema requires."""
    return dict(info) if "name" in info and "version" in info else {**IDENTITY, **info}


def _supported(fault: RpcFault) -> list[str]:
    class Data(msgspec.Struct):
        supported: list[str] = []

    try:
        return msgspec.json.decode(fault.data, type=Data).supported if fault.data is not UNSET else []
    except msgspec.DecodeError:
        return []
