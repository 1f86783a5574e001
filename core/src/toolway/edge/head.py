"""What a request head must be like, whatever the ASGI server let through (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re

from starlette.types import Scope

from toolway.hookspecs.serving import HeaderList, Limits, Refusal, unreadable

Fields = dict[bytes, bytes]

DIGITS = 18
"""Most digits of a Content-Length."""

CODINGS = frozenset({b"transfer-encoding", b"content-encoding"})

_SINGLE = CODINGS | {*b"host origin content-length authorization x-api-key mcp-session-id last-event-id".split()}
_CONTROL = bytes([*range(9), *range(10, 32), 127])
_CONTROL_IN_PATH = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = frozenset({"1.1", "1.0", "2"})
_LONG_NAME = 36


def check_head(scope: Scope, limits: Limits) -> Fields:
    """The header fields of an acceptable request, repeated ones joined; raises `Refusal` with the fitting status.

    Every request comes through here, so what is rare is looked for only where a cheap sign of it is seen.
    """
    headers: HeaderList = scope["headers"]
    fields = dict(headers)
    count = len(headers)
    if len(fields) != count:
        fields = _joined(headers)
    text = b"".join(fields.values())
    size = len(text) + _LONG_NAME * count
    if size > limits.header_field or size > limits.headers or count > limits.header_count:
        _check_sizes(headers, limits)
    if len(text.translate(None, _CONTROL)) != len(text):
        raise Refusal(400, "bad_header", "A header field contains a control character.")
    path = scope["path"]
    if len(path) + len(scope["query_string"]) > limits.request_line // 4:
        _check_line(scope, limits)
    if scope["http_version"] not in _VERSIONS:
        raise Refusal(505, "http_version", "This server speaks HTTP/1.1 and HTTP/2.")
    if path[:1] != "/" or (not path.isprintable() and _CONTROL_IN_PATH.search(path)):
        raise Refusal(400, "bad_target", "The request target must be a path without control characters.")
    if b"host" not in fields:
        raise Refusal(400, "host_missing", "The request must have exactly one Host header.")
    return fields


def bad_length(length: bytes, limits: Limits) -> Refusal:
    """The answer to a body whose length is no number, or more than is taken."""
    if not length.isdigit() or len(length) > DIGITS:
        return Refusal(400, "bad_framing", "Content-Length must be a number.")
    return too_large(limits)


def too_large(limits: Limits) -> Refusal:
    """The answer to a body that has more bytes than are taken."""
    return Refusal(413, "body_too_large", f"A request body may have {limits.body} bytes.")


def check_codings(fields: Fields) -> None:
    """Raises `Refusal` if the body is framed or coded in a way that is not understood."""
    if b"content-length" in fields and b"transfer-encoding" in fields:
        raise Refusal(400, "bad_framing", "Content-Length and Transfer-Encoding exclude each other.")
    if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise unreadable(501)
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(415, "content_encoding", "Send the body without a Content-Encoding.")


def _joined(headers: HeaderList) -> Fields:
    fields: Fields = {}
    for name, value in headers:
        if name in fields and name in _SINGLE:
            raise Refusal(400, "repeated_header", f"The header {name.decode('ascii')} may occur only once.")
        fields[name] = fields[name] + b"," + value if name in fields else value
    return fields


def _check_sizes(headers: HeaderList, limits: Limits) -> None:
    sizes = [len(name) + len(value) + 4 for name, value in headers]
    if sum(sizes) > limits.headers or max(sizes) > limits.header_field or len(sizes) > limits.header_count:
        bounds = f"{limits.header_count} header fields of {limits.header_field} bytes, {limits.headers} bytes in all"
        raise Refusal(431, "headers_too_large", f"A request may have {bounds}.")


def _check_line(scope: Scope, limits: Limits) -> None:
    line = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + len(scope["method"]) + 12
    if line > limits.request_line:
        raise Refusal(414, "url_too_long", f"A request line may have {limits.request_line} bytes.")
