"""Operations of the admin API: what each needs, takes and gives, and the ASGI endpoint that runs those of one path."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from toolway.admin.bodies import Reader
from toolway.admin.context import AdminContext
from toolway.admin.problems import MethodNotAllowed, answer_for, document
from toolway.errors import Forbidden, InvalidInput, PluginError, ToolwayError, Unauthenticated
from toolway.hookspecs.auth import ANONYMOUS, Principal, Resource

ANY = "*"
"""The name of the resource when an action is about a whole collection."""


@dataclass(frozen=True)
class Incoming:
    """An authorized request."""

    context: AdminContext
    principal: Principal
    headers: Headers
    path: Mapping[str, str]

    @property
    def name(self) -> str:
        """The object named in the path."""
        return self.path["name"]

    def may(self, action: str, name: str) -> bool:
        """Whether the principal may do it on that object."""
        return self.context.authorize(self.principal, action, Resource(name))


@dataclass(frozen=True)
class Answer:
    """A JSON answer with a status and headers of its own; `value` None means no body."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9]+")

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One method on one path. `permission` None means public; such operations are on the list `PUBLIC`.

    With `filters` the handler itself asks for each object whether the principal may see it; a `conditional` one works
    with `ETag` and `If-Match`.
    """

    method: str
    path: str
    permission: str | None
    summary: str
    handler: Handler
    body: Any = None
    query: Any = None
    answer: Any = None
    success: tuple[int, ...] = (200,)
    filters: bool = False
    conditional: bool = False

    @property
    def id(self) -> str:
        """Unique name, for clients that are made from the OpenAPI document."""
        is_versioned = self.path.startswith("/api/v1/")
        path = self.path.removeprefix("/api/v1") if is_versioned else f"/probe{self.path}"
        return _UNNAMEABLE.sub("_", f"{self.method.lower()}{path}").strip("_")


PUBLIC: frozenset[tuple[str, str]] = frozenset({("GET", "/health"), ("GET", "/ready"), ("GET", "/api/v1/openapi.json")})


def operation(
    method: str, path: str, permission: str | None, *, success: tuple[int, ...] = (200,), filters: bool = False
) -> Callable[[Handler], Operation]:
    """Make a handler an operation: its parameters `body` and `query` and its result are read from the type hints."""

    def declare(handler: Handler) -> Operation:
        hints = get_type_hints(handler)
        summary = (handler.__doc__ or "").strip().split("\n")[0]
        answer = hints.get("return")
        is_model = isinstance(answer, type) and issubclass(answer, BaseModel)
        body, query = hints.get("body"), hints.get("query")
        model = answer if is_model else None
        return Operation(method, path, permission, summary, handler, body, query, model, success, filters)

    return declare


def routes(context: AdminContext, operations: Iterable[Operation]) -> list[BaseRoute]:
    """One route per path; fixed paths come before those with parameters.

    Raises:
        PluginError: an operation has no permission, or two are the same.
    """
    by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
    for one in operations:
        if one.permission is None and (one.method, one.path) not in PUBLIC:
            raise PluginError(f"{one.method} {one.path} declares no permission and is not on the public list")
        if one.method in by_path[one.path]:
            raise PluginError(
                f"two collections offer {one.method} {one.path}; disable one of the plugins in plugins.enable"
            )
        by_path[one.path][one.method] = one
    ordered = sorted(by_path, key=lambda path: (path.count("{"), path))
    return [Route(path, PathEndpoint(context, by_path[path])) for path in ordered]


class PathEndpoint:
    """Answers all methods of one path; every failure becomes a problem document."""

    def __init__(self, context: AdminContext, operations: Mapping[str, Operation]) -> None:
        self.operations = dict(operations)
        self._context = context
        self._bodies = {one.method: Reader(one.body) for one in operations.values() if one.body is not None}
        self._queries = {one.method: Reader(one.query or NoQuery) for one in operations.values()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the path."""
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except ToolwayError as error:
            allow = {"allow": ", ".join(sorted(self._methods()))} if isinstance(error, MethodNotAllowed) else None
            response = answer_for(error, allow)
        except Exception as error:  # noqa: BLE001 - answered and logged with an error id
            response = answer_for(error)
        await response(scope, receive, send)

    def _methods(self) -> set[str]:
        return {*self.operations, *({"HEAD"} if "GET" in self.operations else ())}

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        chosen = self.operations.get(method)
        if chosen is None:
            raise MethodNotAllowed(f"{request.method} is not possible on {request.url.path}; use one of those in Allow")
        incoming = await self._admit(request, chosen)
        arguments = await self._arguments(request, chosen)
        result = await chosen.handler(incoming, **arguments)
        return _response(result)

    async def _admit(self, request: Request, chosen: Operation) -> Incoming:
        """Authenticate and authorize; collections decide on each object themselves."""
        context, path = self._context, request.path_params
        if chosen.permission is None:
            return Incoming(context, ANONYMOUS, request.headers, path)
        address = request.client.host if request.client else ""
        principal = await context.authenticate(request.headers, address)
        incoming = Incoming(context, principal, request.headers, path)
        if not chosen.filters and not incoming.may(chosen.permission, path.get("name", ANY)):
            refuse(incoming, chosen.permission)
        return incoming

    async def _arguments(self, request: Request, chosen: Operation) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        query = self._queries[chosen.method].query(request.query_params.multi_items())
        if chosen.query is not None:
            arguments["query"] = query
        if chosen.body is not None:
            _check_content_type(request.headers)
            arguments["body"] = self._bodies[chosen.method].body(await request.body())
        return arguments


class NoQuery(BaseModel, extra="forbid"):
    """For operations that take no query parameters."""


def refuse(incoming: Incoming, permission: str) -> None:
    """Raise what fits: without a credential one is asked for, with one the permission is missing."""
    if incoming.principal.kind == "anonymous":
        raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
    raise Forbidden(f"permission {permission!r} is needed here", permission=permission)


def _check_content_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("the body must be sent with Content-Type: application/json")


class UnsupportedMediaType(InvalidInput):
    """The body is announced as something else than JSON (RFC 9110 section 15.5.16)."""

    code = "unsupported_media_type"
    status = 415


def _response(result: Any) -> Response:
    answer = result if isinstance(result, Answer) else Answer(result)
    if answer.value is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    value = answer.value.model_dump(mode="json") if isinstance(answer.value, BaseModel) else answer.value
    return document(value, answer.status, answer.headers)
