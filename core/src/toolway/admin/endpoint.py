"""The ASGI endpoints of the admin API: one for each path, which runs that path's operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolway.admin.operations import AdminContext, Incoming, Operation
from toolway.admin.problems import MethodNotAllowed, UnsupportedMediaType, answer_for, document
from toolway.errors import InvalidInput, PluginError
from toolway.validation import refusal

PUBLIC: frozenset[tuple[str, str]] = frozenset({("GET", "/health"), ("GET", "/ready"), ("GET", "/api/v1/openapi.json")})


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
        self._operations = operations
        self._bodies = {method: Reader(one.body) for method, one in operations.items() if one.body is not None}
        self._queries = {method: Reader(one.query) for method, one in operations.items()}

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
        incoming = Incoming(self._context, request.headers, request.path_params)
        if chosen.permission is not None:
            address = request.client.host if request.client else ""
            incoming.principal = await self._context.authenticate(request.headers, address)
            if not chosen.filters:
                incoming.demand(chosen.permission, incoming.name)
        incoming.query = self._queries[method].query(request.query_params.multi_items())
        if method in self._bodies:
            _check_content_type(request.headers)
            incoming.body = self._bodies[method].body(await request.body())
        result = await chosen.handler(incoming)
        return result if isinstance(result, Response) else document(result)


class Reader:
    """Reads values of one schema strictly: unknown keys, wrong types and odd text are refused."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._adapter = adapter_of(schema)

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


def adapter_of(schema: Any) -> TypeAdapter[Any]:
    """What validates values of a model, a union of models or a prepared adapter."""
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


def _checked(value: Any) -> Any:
    """The value with integral floats as integers, as JSON Schema counts them; refuses text that no database keeps."""
    if isinstance(value, dict):
        return {_checked(key): _checked(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_checked(member) for member in value]
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput("text must not contain the character U+0000")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_content_type(headers: Headers) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("the body must be sent with Content-Type: application/json")
