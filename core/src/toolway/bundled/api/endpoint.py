"""The ASGI endpoints of the REST API: one for each path, which runs that path's operations."""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from time import time_ns
from typing import Any

import msgspec
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolway.bundled.api.problems import MethodNotAllowed, UnsupportedMediaType, answer_for, problem_handlers
from toolway.hookspecs.api import PUBLIC, SIGNED_IN, Incoming, Operation, adapter_of, document
from toolway.hookspecs.auth import AuthContext, Authenticated, Visit, csrf_token
from toolway.hookspecs.telemetry import SERVED
from toolway.plugin import Forbidden, InvalidInput, Kernel, PluginError, Unauthenticated, refusal

COOKIE = "__Host-toolway-session"
SAFE = frozenset({"GET", "HEAD"})


class RestApi:
    """The application that answers what is not for MCP."""

    name = "api"

    def __init__(self, kernel: Kernel) -> None:
        handlers = problem_handlers(kernel.challenges, kernel.redact)
        self._app = Starlette(routes=routes(kernel, kernel.operations), exception_handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `Application`."""
        await self._app(scope, receive, send)


async def enter(kernel: Kernel, request: Request) -> Authenticated:
    """Who asks; a change that a cookie authenticates needs the token of the page (reliability, CSRF).

    Raises:
        Unauthenticated, InvalidInput, StoreUnavailable, TooManyFailures: see `Kernel`; anonymous is refused too.
        Forbidden: the token is missing or wrong.
    """
    fields, cookie = dict(request.headers.raw), request.cookies.get(COOKIE)
    address = request.client.host if request.client else ""
    context = AuthContext(None, address, request.scope["path"], request.headers.get("user-agent", ""))
    visit = Visit(fields.get(b"authorization"), fields.get(b"x-api-key"), context, cookie)
    who = await kernel.authenticate(visit)
    if who.principal.kind == "anonymous":
        raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
    if cookie is not None and visit.is_cookie and request.method not in SAFE:
        said = request.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(said.encode(), csrf_token(cookie).encode()):
            raise Forbidden("a change with a session cookie needs X-CSRF-Token; GET /api/v1/session has it")
    return who


def routes(kernel: Kernel, operations: Iterable[Operation]) -> list[Route]:
    """One route per path; fixed paths come before those with parameters.

    Raises:
        PluginError: an operation has no permission, or two are the same.
    """
    by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
    for one in operations:
        if one.permission not in (PUBLIC, SIGNED_IN) and one.permission.count(":") != 1:
            raise PluginError(f"{one.name} declares no permission such as tokens:read; give it one")
        if one.method in by_path[one.path]:
            raise PluginError(f"two plugins offer {one.name}; disable one of them in plugins.enable")
        by_path[one.path][one.method] = one
    ordered = sorted(by_path, key=lambda path: (path.count("{"), path))
    return [Route(path, PathEndpoint(kernel, path, by_path[path])) for path in ordered]


class PathEndpoint:
    """Answers all methods of one path; every failure becomes a problem document."""

    def __init__(self, kernel: Kernel, path: str, operations: Mapping[str, Operation]) -> None:
        self._kernel = kernel
        self._path = path
        self._operations = operations
        self._bodies = {method: Reader(one.body) for method, one in operations.items() if one.body is not None}
        self._queries = {method: Reader(one.query) for method, one in operations.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the path."""
        request = Request(scope, receive)
        if (served := SERVED.get()) is not None:
            served.route = self._path
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - answered; what is unexpected is logged with an error id
            is_presented = not {"authorization", "x-api-key", "cookie"}.isdisjoint(request.headers)
            response = answer_for(error, self._kernel.challenges, self._kernel.redact, presented=is_presented)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        method, kernel = "GET" if request.method == "HEAD" else request.method, self._kernel
        chosen = self._operations.get(method)
        if chosen is None:
            raise MethodNotAllowed({*self._operations, *({"HEAD"} if "GET" in self._operations else ())})
        incoming, who = Incoming(request, kernel.authorized, kernel.describe), None
        if chosen.permission != PUBLIC:
            who = await enter(kernel, request)
            incoming.who, incoming.principal = who, who.principal
            if (served := SERVED.get()) is not None:
                served.principal, served.identified = who.principal, time_ns()
            if chosen.permission != SIGNED_IN and not chosen.filters:
                incoming.demand(chosen.permission, incoming.name)
        incoming.query = self._queries[method].query(request.query_params.multi_items())
        if method in self._bodies:
            reader, body = self._bodies[method], await request.body()
            if not body and method == "POST" and reader.takes_nothing():
                body = b"{}"
            elif request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise UnsupportedMediaType("the body must be sent with Content-Type: application/json")
            incoming.body = reader.body(body)
        if who is not None and who.claim is not None:
            await who.claim()
        result = await chosen.handler(incoming)
        return result if isinstance(result, Response) else document(result)


class Reader:
    """Reads values of one schema strictly: unknown keys, wrong types and odd text are refused."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._adapter = adapter_of(schema)

    def takes_nothing(self) -> bool:
        """Whether no member is required; a POST then needs no body."""
        try:
            self._valid({}, strict=True)
        except InvalidInput:
            return False
        return True

    def body(self, body: bytes) -> Any:
        """The value of a JSON body; the read-only member `meta` of answers is accepted and ignored.

        Raises:
            InvalidInput: it is not JSON, not an object, or not what the schema says; names every offending member.
        """
        try:
            value = _checked(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidInput("the body is not valid JSON in UTF-8") from None
        if not isinstance(value, dict):
            raise InvalidInput("the body must be a JSON object")
        value.pop("meta", None)
        return self._valid(value, strict=True)

    def query(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """The parameters of a query string; raises InvalidInput when one is unknown, repeated or not acceptable."""
        values = _checked(dict(pairs))
        if len(values) != len(pairs):
            raise InvalidInput("a query parameter is given more than once")
        return self._valid(values, strict=False)

    def _valid(self, values: dict[str, Any], *, strict: bool) -> Any:
        """Strictness is that of JSON: Python's would refuse lists where a model has tuples."""
        try:
            return self._adapter.validate_json(msgspec.json.encode(values), strict=strict)
        except ValidationError as error:
            raise refusal(error, self._schema) from None


def _checked(value: Any) -> Any:
    """The value with integral floats as integers, as JSON Schema counts them; refuses text that no database keeps."""
    if isinstance(value, dict):
        return {_checked(key): _checked(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_checked(member) for member in value]
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput("text must not contain the character U+0000")
    return int(value) if isinstance(value, float) and value.is_integer() else value
