"""The routing headers of MCP 2026-07-28: what mirrors the body, how values are written, what must agree."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from toolway.mcp.errors import HEADER_MISMATCH, INVALID_PARAMS, RpcError

NAMED: Mapping[str, str] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Which member of `params` the header `Mcp-Name` mirrors, by method (the last three: tasks extension)."""

PARAM_PREFIX = "mcp-param-"
ROUTING = frozenset({"mcp-protocol-version", "mcp-method", "mcp-name"})

HeaderMap = Mapping[tuple[str, ...], str]
"""Path of an argument (keys from the root) to the token after `Mcp-Param-`."""

_PLAIN = re.compile(r"[\x20-\x7E]*")
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_PRIMITIVE = ("string", "integer", "boolean")
_SINGLE = (
    *("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
    *("not", "if", "then", "else", "contentSchema"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("patternProperties", "dependentSchemas", "$defs", "definitions")


class HeaderMismatch(RpcError):
    """A routing header is missing, malformed or says something else than the body (-32020, HTTP 400)."""

    def __init__(self, message: str) -> None:
        super().__init__(HEADER_MISMATCH, message, status=400)


@lru_cache(maxsize=4096)
def encode_header_value(value: str) -> str:
    """Printable ASCII as it is; anything else, and what looks like the sentinel, as `=?base64?…?=`."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_header_value(value: str) -> str | None:
    """The inverse; None when the sentinel holds no canonical base64 of UTF-8."""
    value = value.strip(" \t")
    match = _SENTINEL.fullmatch(value)
    if match is None:
        return value
    try:
        decoded = base64.b64decode(match[1], validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode() == match[1] else None
    except ValueError:
        return None


def x_mcp_header_map(schema: Any) -> dict[tuple[str, ...], str]:
    """The `x-mcp-header` annotations of an inputSchema; empty when it has none or any of them is invalid."""
    if find_invalid_x_mcp_header(schema):
        return {}
    return {path: node["x-mcp-header"] for path, node in _positions(schema) if path and "x-mcp-header" in node}


def find_invalid_x_mcp_header(schema: Any) -> str | None:
    """Why the annotations of a schema are invalid, or None (clients must then drop the tool)."""
    seen: set[str] = set()
    for path, position in _positions(schema):
        if "x-mcp-header" not in position:
            continue
        token = position["x-mcp-header"]
        if not path:
            return "x-mcp-header stands where no chain of properties leads"
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return f"x-mcp-header of {'.'.join(path)} is no token (RFC 9110 section 5.6.2)"
        if position.get("type") not in _PRIMITIVE:
            return f"x-mcp-header of {'.'.join(path)} needs type string, integer or boolean"
        if token.lower() in seen:
            return f"x-mcp-header {token!r} is used twice"
        seen.add(token.lower())
    return None


def mcp_param_headers(wanted: HeaderMap, arguments: Any) -> dict[str, str]:
    """The `Mcp-Param-*` headers that mirror these arguments; absent and null ones have none."""
    headers = {}
    for path, token in wanted.items():
        rendered = _rendered(_at(arguments, path))
        if rendered is not None:
            headers[f"Mcp-Param-{token}"] = encode_header_value(rendered)
    return headers


def unfit_for_message(content_type: bytes, accept: bytes) -> tuple[int, str] | None:
    """Why a POST with these cannot be answered (MCP 2026-07-28, transports): HTTP status, and what to do."""
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        return 415, "Content-Type must be application/json"
    if b"*/*" not in accept and not (b"application/json" in accept and b"text/event-stream" in accept):
        return 406, "Accept must list application/json and text/event-stream"
    return None


def validate(
    method: str, params: Mapping[str, Raw], headers: Mapping[str, str], repeated: Collection[str], wanted: HeaderMap
) -> None:
    """Check the headers of a request against its body.

    `headers` has lower-case names, `repeated` those that came twice, `wanted` is the tool's map of parameters.
    `MCP-Protocol-Version` is compared by whoever negotiates the version. Unknown `Mcp-Param-*` are not looked at.

    Raises:
        HeaderMismatch: a header is missing, repeated, badly encoded or differs.
    """
    names = {f"{PARAM_PREFIX}{token.lower()}": path for path, token in wanted.items()}
    for name in repeated:
        if name in ROUTING or name in names:
            raise HeaderMismatch(f"header {name} came more than once")
    if headers.get("mcp-method") != method:
        raise HeaderMismatch("header Mcp-Method is missing or differs from the method of the body")
    key = NAMED.get(method, "")
    if bytes(params.get(key, b"null")) != b"null":
        header = headers.get("mcp-name")
        if header is None or decode_header_value(header) != _text(params[key]):
            raise HeaderMismatch(f"header Mcp-Name is missing, badly encoded or differs from params.{key}")
    try:
        arguments = msgspec.json.decode(params.get("arguments", b"{}")) if names else {}
    except (msgspec.DecodeError, RecursionError):
        raise RpcError(INVALID_PARAMS, "params.arguments holds a value that nobody can represent", status=400) from None
    for name, path in names.items():
        _check_parameter(name, headers.get(name), _at(arguments, path))


def _check_parameter(name: str, header: str | None, value: Any) -> None:
    rendered = _rendered(value)
    if header is None and rendered is None:
        return
    if header is None or rendered is None or not _mirrors(header, value, rendered):
        raise HeaderMismatch(f"header {name} is missing or differs from the argument that it mirrors")


def _mirrors(header: str, value: Any, rendered: str) -> bool:
    """Whether a header says what the argument says; integers compare as numbers, so 42.0 mirrors 42."""
    decoded = decode_header_value(header)
    if decoded is None or decoded == rendered:
        return decoded is not None
    number = _DECIMAL.fullmatch(decoded)
    is_integer = value.is_integer() if isinstance(value, float) else type(value) is int
    try:
        return number is not None and is_integer and int(number[1]) == int(value)
    except ValueError:  # more digits than Python converts
        return False


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


def _rendered(value: Any) -> str | None:
    """How a header writes an argument; None for what headers cannot mirror."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value) if isinstance(value, str | int | float) else None
    except ValueError:  # more digits than Python converts
        return None


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    node = arguments
    for key in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema inside a schema, with its chain of `properties` keys (None off that chain); no `$ref` followed."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        properties = node.get("properties")
        if isinstance(properties, dict):
            stack += [((*path, name) if path is not None else None, inner) for name, inner in properties.items()]
        stack += [(None, node[key]) for key in _SINGLE if key in node]
        stack += [(None, inner) for key in _LISTS if isinstance(node.get(key), list) for inner in node[key]]
        stack += [(None, inner) for key in _MAPS if isinstance(node.get(key), dict) for inner in node[key].values()]
