"""What a request head must be like, whatever the ASGI server let through (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re

import h11
from starlette.types import Scope

from toolway.edge.problem import Refusal
from toolway.edge.settings import Limits

_SINGLE = frozenset({b"host", b"origin", b"content-length", b"transfer-encoding", b"content-encoding"})
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_TROUBLE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]|\x00")
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)

Headers = dict[bytes, bytes]


def read_head(http: h11.Connection) -> h11.Request | None:
    """The next request of a connection, None until its head is complete; raises `Refusal`: 400, 414, 431 or 501.

    h11 joins folded lines, takes a bare LF for a line end and merges equal Content-Length fields: what a proxy in front
    may read differently is refused before a request exists.
    """
    data = http.trailing_data[0]
    end = _BLANK_LINE.search(data)
    head = data[: end.end()] if end else b""
    if _LINE_TROUBLE.search(head) or len(_FRAMING.findall(head)) > 1:
        raise _unreadable(400, data)
    try:
        event = http.next_event()
    except h11.RemoteProtocolError as error:
        raise _unreadable(error.error_status_hint, data) from error
    return event if isinstance(event, h11.Request) else None


def _unreadable(status: int, data: bytes) -> Refusal:
    if status == 501:
        return Refusal(501, "bad_framing", "The only transfer coding understood here is chunked.")
    if status == 431 and b"\n" not in data:
        return Refusal(414, "url_too_long", "The request line is too long.")
    if status == 431:
        return Refusal(431, "headers_too_large", "The request head is too large.")
    return Refusal(400, "malformed_request", "The message is not well-formed HTTP/1.1.")


def check_head(scope: Scope, limits: Limits) -> Headers:
    """The header fields of an acceptable request, repeated ones joined; raises `Refusal` with the fitting status."""
    _check_sizes(scope, limits)
    if scope["http_version"] not in ("1.1", "1.0", "2"):
        raise Refusal(505, "http_version", "This server speaks HTTP/1.1.")
    if not scope["path"].startswith("/") or _CONTROL.search(scope["path"].encode()):
        raise Refusal(400, "bad_target", "The request target must be a path without control characters.")
    headers: Headers = {}
    for name, value in scope["headers"]:
        if name in headers and name in _SINGLE:
            raise Refusal(400, "bad_framing", f"The header {name.decode('ascii')} may occur only once.")
        headers[name] = headers[name] + b"," + value if name in headers else value
    if _CONTROL.search(b"".join(headers.values())):
        raise Refusal(400, "bad_header", "A header field contains a control character.")
    if b"host" not in headers:
        raise Refusal(400, "host_missing", "The request must have exactly one Host header.")
    _check_body(headers)
    return headers


def _check_sizes(scope: Scope, limits: Limits) -> None:
    line = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + len(scope["method"]) + 12
    if line > limits.request_line:
        raise Refusal(414, "url_too_long", f"A request line may have {limits.request_line} bytes.")
    sizes = [len(name) + len(value) + 4 for name, value in scope["headers"]]
    if max(sizes, default=0) > limits.header_field or sum(sizes) > limits.headers or len(sizes) > limits.header_count:
        bounds = f"{limits.header_count} header fields of {limits.header_field} bytes, {limits.headers} bytes in all"
        raise Refusal(431, "headers_too_large", f"A request may have {bounds}.")


def _check_body(headers: Headers) -> None:
    length, coding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    if length is not None and coding is not None:
        raise Refusal(400, "bad_framing", "Content-Length and Transfer-Encoding exclude each other.")
    if coding is not None and coding.lower() != b"chunked":
        raise Refusal(501, "bad_framing", "The only transfer coding understood here is chunked.")
    if length is not None and (not length.isdigit() or len(length) > 18):
        raise Refusal(400, "bad_framing", "Content-Length must be a number.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(415, "content_encoding", "Send the body without a Content-Encoding.")
