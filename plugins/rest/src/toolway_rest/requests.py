"""Makes the HTTP request of a call: arguments go where the document says, and can change nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from yarl import URL

from toolway_rest.bodies import Payload, written
from toolway_rest.operations import Operation, Parameter, Scheme
from toolway_rest.styles import (
    Pair,
    Refused,
    cookie_value,
    decoded,
    has_dots,
    header_value,
    path_value,
    percent,
    query_pairs,
)


class Prepared(msgspec.Struct):
    """A request without the gateway's credentials. `query` is encoded; `host` and `path` come from the operator."""

    method: str
    path: str
    query: list[Pair]
    headers: dict[str, str]
    cookies: list[Pair]
    body: Payload | None = None

    def url(self, base: URL) -> URL:
        """The URL below a base URL, whose own query stays in front and cannot be said twice."""
        path = base.raw_path.rstrip("/") + self.path
        pairs = "&".join(f"{name}={value}" for name, value in self.query if unquote(name) not in base.query)
        query = "&".join(part for part in (base.raw_query_string, pairs) if part)
        made = URL(f"{base.origin()}{path}{'?' + query if query else ''}", encoded=True)
        if made.origin() != base.origin() or made.raw_path != path:
            raise Refused("would change the host or the path")
        return made


class BadArgument(ValueError):
    """An argument is missing or cannot be sent; the text is for the model."""


def prepare(operation: Operation, arguments: Mapping[str, Any]) -> Prepared:
    """The request that a call makes; raises BadArgument."""
    values = {name: value for name, value in arguments.items() if value is not None}
    request = Prepared(operation.method, "", [], {"accept": operation.accept}, [])
    request.path = "".join(part if isinstance(part, str) else _in_path(part, values) for part in operation.template)
    _check_path(request.path, operation)
    for parameter in operation.parameters:
        if parameter.argument in values:
            _add(request, parameter, values[parameter.argument])
        elif parameter.required:
            raise BadArgument(f"argument {parameter.argument!r} is missing")
    _add_body(request, operation, values)
    return request


def _check_path(path: str, operation: Operation) -> None:
    """Raise BadArgument when arguments next to each other make together what none of them has."""
    fixed = "".join(part for part in operation.template if isinstance(part, str))
    may_have_more = any(part.slashes for part in operation.template if not isinstance(part, str))
    try:
        bare = decoded(path)
        if has_dots(bare) or (not may_have_more and bare.count("/") != decoded(fixed).count("/")):
            raise BadArgument("the arguments of the path make another path together")
    except Refused as refused:
        raise BadArgument(f"the path {refused}") from None


def _in_path(parameter: Parameter, values: Mapping[str, Any]) -> str:
    if parameter.argument not in values:
        raise BadArgument(f"argument {parameter.argument!r} is missing")
    try:
        return path_value(
            _as_json(parameter, values[parameter.argument]),
            parameter.name,
            parameter.style,
            explode=parameter.explode,
            slashes=parameter.slashes,
        )
    except Refused as refused:
        raise BadArgument(f"argument {parameter.argument!r} {refused}") from None


def _add(request: Prepared, parameter: Parameter, value: Any) -> None:
    value, name = _as_json(parameter, value), parameter.name
    try:
        if parameter.place == "query":
            request.query += query_pairs(
                value, name, parameter.style, explode=parameter.explode, reserved=parameter.reserved
            )
        elif parameter.place == "header":
            request.headers[name.lower()] = header_value(value, explode=parameter.explode)
        elif parameter.place == "cookie":
            request.cookies.append((name, cookie_value(value)))
    except Refused as refused:
        raise BadArgument(f"argument {parameter.argument!r} {refused}") from None


def _as_json(parameter: Parameter, value: Any) -> Any:
    return msgspec.json.encode(value).decode() if parameter.is_json else value


def _add_body(request: Prepared, operation: Operation, values: Mapping[str, Any]) -> None:
    body = operation.body
    if body is None:
        return
    if body.argument not in values:
        if body.required:
            raise BadArgument(f"argument {body.argument!r} is missing")
        return
    try:
        request.body, request.headers["content-type"] = written(body, values[body.argument])
    except Refused as refused:
        raise BadArgument(f"argument {body.argument!r} {refused}") from None


def authenticate(request: Prepared, scheme: Scheme, secret: str) -> None:
    """Add the secret of a security scheme; it replaces what an argument of the same name said."""
    if scheme.place == "query":
        others = (pair for pair in request.query if unquote(pair[0]) != scheme.name)
        request.query = [*others, (percent(scheme.name), percent(secret))]
    elif scheme.place == "cookie":
        others = (pair for pair in request.cookies if pair[0] != scheme.name)
        request.cookies = [*others, (scheme.name, percent(secret))]
    else:
        value = base64.b64encode(secret.encode()).decode() if scheme.prefix == "Basic " else secret
        request.headers[scheme.name.lower()] = scheme.prefix + value
