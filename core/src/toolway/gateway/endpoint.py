"""The front door of the data plane: which server, who asks, which era."""

from __future__ import annotations

import logging
import re

from toolway.errors import Forbidden, InvalidInput, NotFound, ToolwayError, Unauthenticated
from toolway.gateway.access import presented
from toolway.gateway.exchange import RPC_STATUS
from toolway.gateway.http import Receive, Request, Scope, Send, read_request
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.legacy_http import LegacyHttp
from toolway.gateway.legacy_sse import LegacySse
from toolway.gateway.modern import ModernFront
from toolway.gateway.plane import DataPlane
from toolway.hookspecs.auth import AuthContext, Resource
from toolway.hookspecs.serving import Refusal
from toolway.mcp.errors import INVALID_REQUEST, RpcError
from toolway.mcp.messages import Envelope, NotAMessage, decode, encode_error
from toolway.mcp.versions import LEGACY, PROTOCOL_VERSION_KEY

log = logging.getLogger(__name__)

PATH = re.compile(r"(?:/servers/(?P<server>[a-z0-9-]{1,48}))?/(?P<leaf>mcp|sse|messages)")
ALL = "all"
SINGLE = frozenset({"authorization", "x-api-key", "mcp-session-id", "last-event-id"})


class Endpoint:
    """An ASGI app for `/mcp`, `/sse`, `/messages` and the same below `/servers/<name>`."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        methods = LegacyMethods(plane)
        self._modern = ModernFront(plane)
        self._legacy = LegacyHttp(plane, methods)
        self._sse = LegacySse(plane, methods)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether this path is the data plane's."""
        return PATH.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; every failure is a well-formed error with the request's id where it had one."""
        request = read_request(scope, receive, send)
        seen: list[Envelope] = []
        try:
            await self._route(request, scope.get("root_path", ""), seen)
        except Refusal:
            raise  # the door answers for what it refused, such as a body that grew too large
        except ConnectionResetError:
            log.debug("client %s left before its request was complete", request.address)
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            await self._refuse(request, error, seen)

    async def _route(self, request: Request, root_path: str, seen: list[Envelope]) -> None:
        match = PATH.fullmatch(request.path)
        if match is None:
            raise NotFound("there is nothing at this path")
        await self._enter(request, match["server"] or ALL)
        version = request.headers.get("mcp-protocol-version")
        route = (match["leaf"], request.method)
        if route == ("mcp", "POST"):
            await self._post(request, seen)
        elif route == ("mcp", "GET") and (version is None or version in LEGACY):
            await self._legacy.get(request)
        elif route == ("mcp", "DELETE") and (version is None or version in LEGACY):
            await self._legacy.delete(request)
        elif route == ("sse", "GET"):
            await self._sse.stream(request, f"{root_path}{request.path.removesuffix('sse')}messages")
        elif route == ("messages", "POST"):
            await self._sse.post(request)
        else:
            allow = {"mcp": b"POST, GET, DELETE", "sse": b"GET", "messages": b"POST"}[match["leaf"]]
            await request.reply(405, b"", [(b"allow", allow)])

    async def _enter(self, request: Request, server: str) -> None:
        """Find out who asks and whether they may use this server; raises Unauthenticated, Forbidden, NotFound."""
        if twice := SINGLE & request.repeated:
            raise InvalidInput(f"the request has {', '.join(sorted(twice))} more than once; send it once")
        credentials = presented(request.headers.get("authorization"), request.headers.get("x-api-key"))
        context = AuthContext(server, request.address, request.path)
        principal = await self._plane.access.authenticate(credentials, context)
        view = self._plane.catalog.snapshot.servers.get(server)
        resource = Resource(server, server, view.settings.access) if view is not None else None
        if resource is None or not self._plane.access.allowed(principal, "servers:connect", resource):
            if principal.kind == "anonymous":
                raise Unauthenticated("send a credential: Authorization: Bearer <token>")
            raise (
                Forbidden(f"you may not use server {server!r}") if view else NotFound(f"there is no server {server!r}")
            )
        request.server, request.principal = server, principal

    async def _post(self, request: Request, seen: list[Envelope]) -> None:
        _check_media(request)
        body = await request.body()
        envelope = decode(body)
        seen.append(envelope)
        if self._is_modern(request, envelope):
            await self._modern.post(request, envelope)
        else:
            await self._legacy.post(request, envelope, body)

    @staticmethod
    def _is_modern(request: Request, envelope: Envelope) -> bool:
        version = request.headers.get("mcp-protocol-version")
        if version is not None and version not in LEGACY:
            return "mcp-session-id" not in request.headers or version >= "2026-07-28"
        meta = envelope.members.get("_meta")
        return meta is not None and PROTOCOL_VERSION_KEY.encode() in bytes(meta)

    async def _refuse(self, request: Request, error: Exception, seen: list[Envelope]) -> None:
        fault = self._plane.dispatch.fault(error)
        if request.started:
            return  # half an answer is out: the connection ends, which says that something went wrong
        status = error.status if isinstance(error, ToolwayError) else 500
        if isinstance(error, RpcError) and status == 200:
            status = RPC_STATUS.get(fault.code, 200)
        headers = [(b"www-authenticate", b"Bearer")] if isinstance(error, Unauthenticated) else []
        request_id = error.request_id if isinstance(error, NotAMessage) else None
        if seen and isinstance(seen[0].id, int | str):
            request_id = seen[0].id
        await request.reply(status, encode_error(request_id, fault), headers)


def _check_media(request: Request) -> None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RpcError(INVALID_REQUEST, "Content-Type must be application/json", status=415)
    accept = request.headers.get("accept", "")
    if "*/*" not in accept and not ("application/json" in accept and "text/event-stream" in accept):
        raise RpcError(INVALID_REQUEST, "Accept must list application/json and text/event-stream", status=406)
