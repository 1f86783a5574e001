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
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolway.admin.bodies import Reader
from toolway.admin.context import AdminContext
from toolway.admin.problems import MethodNotAllowed, UnsupportedMediaType, answer_for, document
from toolway.errors import Forbidden, PluginError, Unauthenticated
from toolway.hookspecs.auth import ANONYMOUS, Principal, Resource

ANY = "*"
"""The name of the resource when an action is about a whole collection."""

PUBLIC: frozenset[tuple[str, str]] = frozenset({("GET", "/health"), ("GET", "/ready"), ("GET", "/api/v1/openapi.json")})

_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9]+")

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Incoming:
    """An authenticated request."""

    context: AdminContext
    principal: Principal
    headers: Headers
    path: Mapping[str, str]

    @property
    def name(self) -> str:
        """The object named in the path; `ANY` when the path is about a whole collection."""
        return self.path.get("name", ANY)

    def may(self, action: str, name: str) -> bool:
        """Whether the principal may do it on that object."""
        return self.context.authorize(self.principal, action, Resource(name))

    def demand(self, action: str, name: str) -> None:
        """Refuse what the principal may not do.

        Raises:
            Unauthenticated: nobody asks; a credential may help.
            Forbidden: the permission is missing.
        """
        if self.may(action, name):
            return
        if self.principal.kind == "anonymous":
            raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
        raise Forbidden(f"permission {action!r} is needed here", permission=action)


@dataclass(frozen=True)
class Answer:
    """A JSON answer with a status and headers of its own; `value` None means no body."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class NoQuery(BaseModel, extra="forbid"):
    """For operations that take no query parameters."""


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
        return _UNNAMEABLE.sub("_", f"{self.method.lower()}{self.path}").strip("_")


def operation(
    method: str, path: str, permission: str | None, *, success: tuple[int, ...] = (200,), filters: bool = False
) -> Callable[[Handler], Operation]:
    """Make a handler an operation: its parameters `body` and `query` and its result are read from the type hints."""

    def declare(handler: Handler) -> Operation:
        hints = get_type_hints(handler)
        answer = hints["return"] if hints["return"] is not Answer else None
        summary = (handler.__doc__ or "").partition("\n")[0]
        body, query = hints.get("body"), hints.get("query")
        return Operation(method, path, permission, summary, handler, body, query, answer, success, filters)

    return declare


def routes(context: AdminContext, operations: Iterable[Operation]) -> list[Route]:
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
        self._context = context
        self._operations = dict(operations)
        self._bodies = {method: Reader(one.body) for method, one in operations.items() if one.body is not None}
        self._queries = {method: Reader(one.query or NoQuery) for method, one in operations.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the path."""
        try:
            response = await self._respond(Request(scope, receive))
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - answered; what is unexpected is logged with an error id
            response = answer_for(error)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        chosen = self._operations.get(method)
        if chosen is None:
            raise MethodNotAllowed({*self._operations, *({"HEAD"} if "GET" in self._operations else ())})
        incoming = Incoming(self._context, await self._principal(request, chosen), request.headers, request.path_params)
        if chosen.permission is not None and not chosen.filters:
            incoming.demand(chosen.permission, incoming.name)
        return _response(await chosen.handler(incoming, **await self._arguments(request, method, chosen)))

    async def _principal(self, request: Request, chosen: Operation) -> Principal:
        if chosen.permission is None:
            return ANONYMOUS
        return await self._context.authenticate(request.headers, request.client.host if request.client else "")

    async def _arguments(self, request: Request, method: str, chosen: Operation) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        query = self._queries[method].query(request.query_params.multi_items())
        if chosen.query is not None:
            arguments["query"] = query
        if chosen.body is not None:
            _check_content_type(request.headers)
            arguments["body"] = self._bodies[method].body(await request.body())
        return arguments


def _check_content_type(headers: Headers) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("the body must be sent with Content-Type: application/json")


def _response(result: Any) -> Response:
    answer = result if isinstance(result, Answer) else Answer(result)
    if answer.value is None:
        return Response(status_code=answer.status, headers=answer.headers)
    value = answer.value.model_dump(mode="json") if isinstance(answer.value, BaseModel) else answer.value
    return document(value, answer.status, answer.headers)
