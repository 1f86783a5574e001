"""The front door of the data plane: which server, who asks, which era."""

from __future__ import annotations

import logging
import re
from functools import lru_cache

from toolway.errors import Forbidden, InvalidInput, NotFound, ToolwayError, Unauthenticated
from toolway.gateway.dispatch import fault
from toolway.gateway.exchange import RPC_STATUS
from toolway.gateway.http import Receive, Request, Scope, Send, read_request
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.modern import ModernFront
from toolway.gateway.plane import DataPlane
from toolway.gateway.transports import HttpWithSse, StreamableHttp
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.serving import Refusal
from toolway.mcp.errors import INVALID_REQUEST, RpcError
from toolway.mcp.messages import Envelope, NotAMessage, decode, encode_error
from toolway.mcp.versions import LEGACY, PROTOCOL_VERSION_KEY

log = logging.getLogger(__name__)

PATH = re.compile(r"(?:/servers/([a-z0-9-]{1,48}))?/(mcp|sse|messages)")
ALL = "all"
SINGLE = frozenset({"authorization", "x-api-key", "mcp-session-id", "last-event-id"})
VERSION_KEY = PROTOCOL_VERSION_KEY.encode()


class Endpoint:
    """An ASGI app for `/mcp`, `/sse`, `/messages` and the same below `/servers/<name>`."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        methods = LegacyMethods(plane)
        self._modern = ModernFront(plane)
        self._legacy = StreamableHttp(plane, methods)
        sse = HttpWithSse(plane, methods)
        self._routes = {
            ("mcp", "POST"): self._post,
            ("mcp", "GET"): self._legacy.get,
            ("mcp", "DELETE"): self._legacy.delete,
            ("sse", "GET"): sse.stream,
            ("messages", "POST"): sse.post,
        }

    @staticmethod
    def serves(path: str) -> bool:
        """Whether this path is the data plane's."""
        return _place(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; every failure is a well-formed error with the request's id where it had one."""
        request = read_request(scope, receive, send)
        try:
            await self._route(request)
        except Refusal:
            raise  # the door answers for what it refused, such as a body that grew too large
        except ConnectionResetError:
            log.debug("a client left before its request was complete")
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            await self._refuse(request, error)

    async def _route(self, request: Request) -> None:
        place = _place(request.path)
        if place is None:
            raise NotFound("there is nothing at this path")
        request.server, leaf = place
        await self._enter(request)
        handler = self._routes.get((leaf, request.scope["method"]))
        version = request.headers.get(b"mcp-protocol-version")
        is_modern = leaf == "mcp" and version is not None and version.decode("latin-1") not in LEGACY
        if handler is None or (is_modern and handler != self._post):
            allow = ", ".join(method for each, method in self._routes if each == leaf)
            await request.reply(405, b"", (b"allow", allow.encode()))
        else:
            await handler(request)

    async def _enter(self, request: Request) -> None:
        """Find out who asks and whether they may use this server; raises Unauthenticated, Forbidden, NotFound."""
        if twice := SINGLE & request.repeated():
            raise InvalidInput(f"the request has {', '.join(sorted(twice))} more than once; send it once")
        server, access = request.server, self._plane.access
        principal = request.principal = (await access.authenticate(request.visit())).principal
        view = self._plane.catalog.snapshot.servers.get(server)
        if view is None or not access.allowed(
            principal, "servers:connect", Resource(server, server, view.settings.access)
        ):
            if principal.kind == "anonymous":
                raise Unauthenticated("send a credential: Authorization: Bearer <token>")
            if view is None:
                raise NotFound(f"there is no server {server!r}")
            raise Forbidden(f"you may not use server {server!r}")

    async def _post(self, request: Request) -> None:
        _check_media(request.headers.get(b"content-type", b""), request.headers.get(b"accept", b""))
        body = await request.body()
        envelope = decode(body)
        request.id = envelope.id if isinstance(envelope.id, int | str) else None
        if self._is_modern(request, envelope):
            await self._modern.post(request, envelope)
        else:
            await self._legacy.post(request, envelope, body)

    @staticmethod
    def _is_modern(request: Request, envelope: Envelope) -> bool:
        version = request.header(b"mcp-protocol-version")
        if version is not None and version not in LEGACY:
            return b"mcp-session-id" not in request.headers or version >= "2026-07-28"
        meta = envelope.members.get("_meta")
        return meta is not None and VERSION_KEY in bytes(meta)

    async def _refuse(self, request: Request, error: Exception) -> None:
        refused = fault(error)
        if request.started:
            return  # half an answer is out: the connection ends, which says that something went wrong
        status = error.status if isinstance(error, ToolwayError) else 500
        if isinstance(error, RpcError) and status == 200:
            status = RPC_STATUS.get(refused.code, 200)
        headers = [(b"www-authenticate", b"Bearer")] if isinstance(error, Unauthenticated) else []
        request_id = error.request_id if isinstance(error, NotAMessage) else request.id
        await request.reply(status, encode_error(request_id, refused), *headers)


@lru_cache(maxsize=1024)
def _place(path: str) -> tuple[str, str] | None:
    """Which virtual server, and what of it."""
    match = PATH.fullmatch(path)
    return (match[1] or ALL, match[2]) if match else None


@lru_cache(maxsize=256)
def _check_media(content_type: bytes, accept: bytes) -> None:
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise RpcError(INVALID_REQUEST, "Content-Type must be application/json", status=415)
    if b"*/*" not in accept and not (b"application/json" in accept and b"text/event-stream" in accept):
        raise RpcError(INVALID_REQUEST, "Accept must list application/json and text/event-stream", status=406)
