"""A conversation in MCP 2026-07-28: every request stands alone, over HTTP or a process's pipes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway.bundled.upstreams.channel import LISTEN, OPENING_SECONDS, Channel, Refusal, raw
from toolway.bundled.upstreams.conversation import Conversation, identity
from toolway.bundled.upstreams.discover import LISTINGS, Hello, read_hello
from toolway.bundled.upstreams.repeat import NOTHING, first_try, repeat, resynchronize
from toolway.hookspecs.routing import Eras, Leg, Peer, Reply, RpcFault, UpstreamRequest, Wants
from toolway.mcp.errors import HEADER_MISMATCH, METHOD_NOT_FOUND, MISSING_CAPABILITY, RPC_STATUS, UNSUPPORTED_VERSION
from toolway.mcp.headers import encode_header_value
from toolway.mcp.versions import CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, MODERN, PROTOCOL_VERSION_KEY, SERVER_INFO_KEY
from toolway.plugin import UpstreamError, UpstreamProtocol

FOREVER = 1e9
"""Monotonic seconds that never come."""


class ModernConnection(Conversation):
    """`Connection` of the modern era over any channel."""

    def __init__(self, leg: Leg, channel: Channel, upstream: str) -> None:
        super().__init__(leg, channel, upstream)
        self._version = leg.version if leg.version in MODERN else MODERN[0]
        self._stream: asyncio.Task[None] | None = None
        self._known_meta: dict[str, Raw] | None = None
        self._known_version, self._known_raw = "", Raw(b"")
        self._client_meta = {
            CLIENT_CAPABILITIES_KEY: raw(leg.client.capabilities),
            CLIENT_INFO_KEY: raw(identity(leg.client.info)),
        }

    async def hello(self) -> tuple[Eras, Hello]:
        """The answer to `server/discover`; an upstream that refuses it in modern words offers what its lists have."""
        reply = await self._ask("server/discover", {})
        if _refuses_in_modern_words(reply):
            everything = {listing.capability: Raw(b"{}") for listing in LISTINGS}
            return Eras(modern=self._version), Hello(capabilities=everything)
        hello = read_hello(reply)
        if self._version not in hello.supported_versions:
            raise UpstreamProtocol(f"upstream {self._upstream!r} speaks none of {', '.join(MODERN)}")
        hello.server_info = hello.meta.get(SERVER_INFO_KEY, Raw(b"{}"))
        return Eras(modern=self._version), hello

    def request(self, request: UpstreamRequest) -> Coroutine[Any, Any, Reply]:
        """Send with `_meta` and version; once more when the upstream wants another version that is known."""
        return self._channel.call(self._complete(request), self._again)

    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`; the old stream ends when the new one is in force or failed, but was not refused."""
        self._tasks.check_open(self._upstream)
        if wants == self._wants:
            return
        old, before, self._stream, self._wants = self._stream, self._wants, None, wants
        try:
            if wants != NOTHING:
                tried = first_try()
                self._stream = stream = self._tasks.start(self._report(wants, tried))
                await tried.wait()
                if stream.done():
                    self._stream, self._wants, old = old, before, None
                    raise UpstreamError(f"upstream {self._upstream!r} refused to report changes")
        finally:
            if old is not None:
                old.cancel()

    def _complete(self, request: UpstreamRequest) -> UpstreamRequest:
        version = self._version
        if request.meta is not self._known_meta or version != self._known_version:
            self._known_meta, self._known_version = request.meta, version
            self._known_raw = raw({**self._client_meta, **request.meta, PROTOCOL_VERSION_KEY: version})
        headers = _routing_headers(version, request.method, request.name)
        request.headers = {**request.headers, **headers} if request.headers else headers
        request.params = {**request.params, "_meta": self._known_raw}
        return request

    def _again(self, request: UpstreamRequest, fault: RpcFault) -> Coroutine[Any, Any, Reply] | None:
        supported = _supported(fault) if fault.code == UNSUPPORTED_VERSION else []
        common = [version for version in MODERN if version in supported]
        if not common or common[0] == self._version:
            return None
        self._version = common[0]
        return self._channel.call(self._complete(request))

    async def _report(self, wants: Wants, tried: asyncio.Event) -> None:
        """Listen again and again; what was missed in between is made up for once a new stream is in force."""

        def acknowledged() -> None:
            if tried.is_set():
                resynchronize(self._leg.peer, wants)
            tried.set()

        peer, what = _Subscriber(self._leg.peer, acknowledged), f"upstream {self._upstream!r} does not report changes"
        await repeat(lambda: self._listen(wants, peer), what, tried.set)

    async def _listen(self, wants: Wants, peer: Peer) -> bool:
        """One `subscriptions/listen` until it ends (MCP 2026-07-28, subscriptions); False when it is refused.

        Errors of the request itself refuse it, and would again; all others are of the moment.
        """
        wanted = {
            "toolsListChanged": wants.tools,
            "promptsListChanged": wants.prompts,
            "resourcesListChanged": wants.resources,
            "resourceSubscriptions": sorted(wants.uris),
        }
        asked = {"notifications": raw({key: value for key, value in wanted.items() if value})}
        reply = await self.request(UpstreamRequest(LISTEN, asked, {}, peer, FOREVER, first_byte=OPENING_SECONDS))
        return reply.fault is None or reply.fault.code not in RPC_STATUS


class _Subscriber:
    """The peer of a listen request: the acknowledgement is ours, changes belong to the leg."""

    def __init__(self, peer: Peer, acknowledged: Callable[[], None]) -> None:
        self._peer = peer
        self._acknowledged = acknowledged
        self.ask = peer.ask  # modern servers ask by their results; a process may break the rule

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass on changes only: nothing else travels on this stream."""
        if method == "notifications/subscriptions/acknowledged":
            self._acknowledged()
        elif method.endswith(("/list_changed", "/updated")):
            self._peer.notify(method, {key: value for key, value in params.items() if key != "_meta"})


@lru_cache(maxsize=4096)
def _routing_headers(version: str, method: str, name: str | None) -> dict[str, str]:
    headers = {"mcp-protocol-version": version, "mcp-method": method}
    return headers if name is None else {**headers, "mcp-name": encode_header_value(name)}


def _refuses_in_modern_words(reply: Reply) -> bool:
    """Whether only a modern server answers so (MCP 2026-07-28, versioning); a version we do not know is no use."""
    if reply.fault is None:
        return False
    if reply.fault.code in (HEADER_MISMATCH, MISSING_CAPABILITY):
        return True
    return isinstance(reply, Refusal) and reply.status == 404 and reply.fault.code == METHOD_NOT_FOUND


def _supported(fault: RpcFault) -> list[str]:
    class Data(msgspec.Struct):
        supported: list[str] = []

    try:
        return msgspec.json.decode(fault.data, type=Data).supported if fault.data is not UNSET else []
    except msgspec.DecodeError:
        return []
