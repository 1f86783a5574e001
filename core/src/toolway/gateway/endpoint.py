"""The front door of the data plane: which server, who asks, which era."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import time_ns

from msgspec import UNSET
from starlette.types import ASGIApp, Receive, Scope, Send

from toolway.catalog.snapshot import ServerView
from toolway.errors import Forbidden, NotFound, ToolwayError, Unauthenticated
from toolway.gateway.dispatch import fault
from toolway.gateway.head import head_of
from toolway.gateway.http import Request, decode_patiently, fields_of
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.modern import ModernFront
from toolway.gateway.plane import DataPlane
from toolway.gateway.transports import HttpWithSse, StreamableHttp
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.challenge import Challenges
from toolway.hookspecs.serving import FIELDS, WHOLE, Refusal
from toolway.hookspecs.telemetry import SERVED
from toolway.mcp import versions
from toolway.mcp.errors import INVALID_REQUEST, RPC_STATUS, RpcError, redacted
from toolway.mcp.messages import SLICE, Envelope, NotAMessage, decode, encode_error

log = logging.getLogger(__name__)

VERSION_KEY = versions.PROTOCOL_VERSION_KEY.encode()


class Endpoint:
    """An ASGI app for `/mcp`, `/sse`, `/messages` and the same below `/servers/<name>`; `otherwise` has all else."""

    def __init__(self, plane: DataPlane, challenges: Challenges, otherwise: ASGIApp) -> None:
        self._access, self._catalog, self._challenges = plane.access, plane.catalog, challenges
        self._otherwise, self._redact = otherwise, plane.dispatch.redact
        methods = LegacyMethods(plane)
        self._modern = ModernFront(plane)
        self._legacy = StreamableHttp(plane, methods)
        sse = HttpWithSse(plane, methods)
        self._fronts = methods, self._modern, self._legacy, sse
        self._routes: dict[tuple[str, str], Callable[[Request, ServerView], Awaitable[None]]] = {
            ("mcp", "POST"): self._post,
            ("mcp", "GET"): self._legacy.get,
            ("mcp", "DELETE"): self._legacy.delete,
            ("sse", "GET"): sse.stream,
            ("messages", "POST"): sse.post,
        }

    def enter(self) -> None:
        """Hear of sessions and of other nodes from now on."""
        for front in self._fronts:
            front.enter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; every failure is a well-formed error with the request's id where it had one."""
        head = head_of(scope)
        if (server := head.server) == "":
            return await self._otherwise(scope, receive, send)
        request = Request(scope, receive, send, scope[FIELDS], head)
        if (served := SERVED.get()) is not None:
            served.route, served.server = head.route, server
        try:
            who, view = self._access.remembered(head.credential), self._catalog.snapshot.servers.get(server)
            if who is None:
                who = await self._access.authenticate(request.visit(), remember=view is not None)
            principal = request.principal = who.principal
            if served is not None:
                served.principal, served.identified = principal, time_ns()
            if view is None or not self._access.allowed(principal, "servers:connect", view.resource):
                raise self._closed(principal, server, view)
            handler = self._routes.get(head.what)
            if handler is None or (head.is_modern is not None and head.what in (("mcp", "GET"), ("mcp", "DELETE"))):
                allow = ", ".join(verb for leaf, verb in self._routes if leaf == head.what[0])
                await request.reply(405, b"", (b"allow", allow.encode()))
            else:
                await handler(request, view)
        except Refusal:
            raise  # the door answers for what it refused, such as a body that grew too large
        except ConnectionResetError:
            log.debug("a client left before its request was complete")
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            await self._refuse(request, error)

    def _closed(self, principal: Principal, server: str, view: ServerView | None) -> ToolwayError:
        """Why it may not be used; that it exists is told to nobody who may not."""
        if principal.kind == "anonymous":
            return Unauthenticated("send a credential: Authorization: Bearer <token>")
        if view is not None and self._access.out_of_scope(principal, "servers:connect", view.resource):
            what = f"the credential is not meant for server {server!r}; get one with the scopes of the challenge"
            return Forbidden(what, scope=f"servers:connect:{server}")
        return NotFound(f"there is no server {server!r}")

    def _post(self, request: Request, view: ServerView) -> Awaitable[None]:
        """What answers a message: all that is here already is done at once."""
        head, whole = request.head, request.scope.get(WHOLE)
        if head.unfit is not None:
            raise RpcError(INVALID_REQUEST, head.unfit[1], status=head.unfit[0])
        body = whole.take() if whole is not None else None
        if body is None or len(body) > SLICE:
            return self._post_slowly(request, view, body)
        return self._message(request, view, body, decode(body))

    async def _post_slowly(self, request: Request, view: ServerView, body: bytes | None) -> None:
        body = await request.body() if body is None else body
        await self._message(request, view, body, await decode_patiently(body))

    def _message(self, request: Request, view: ServerView, body: bytes, envelope: Envelope) -> Awaitable[None]:
        head = request.head
        request.id = None if envelope.id is UNSET else envelope.id
        if (served := SERVED.get()) is not None:
            served.method, served.meta = envelope.method or "", (envelope.params or {}).get("_meta", b"")
        if head.is_modern or (head.is_modern is None and VERSION_KEY in bytes(envelope.members.get("_meta", b""))):
            return self._modern.post(request, envelope, view)
        return self._legacy.post(request, envelope, body)

    async def _refuse(self, request: Request, error: Exception) -> None:
        refused = redacted(fault(error), self._redact)
        if request.started:
            return  # half an answer is out: the connection ends, which says that something went wrong
        status = error.status if isinstance(error, ToolwayError) else 500
        if isinstance(error, RpcError) and status == 200:
            status = RPC_STATUS.get(refused.code, 200)
        is_presented = b"authorization" in request.headers or b"x-api-key" in request.headers
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        challenge = self._challenges.header(error, path, presented=is_presented)
        headers = [(b"www-authenticate", challenge.encode())] if challenge else []
        headers += fields_of(error.headers) if isinstance(error, ToolwayError) else []
        request_id = error.request_id if isinstance(error, NotAMessage) else request.id
        await request.reply(status, encode_error(request_id, refused), *headers)
