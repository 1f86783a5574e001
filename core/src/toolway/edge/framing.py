"""What a request head must be like, whatever the ASGI server let through (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from toolway.edge.problem import Refusal
from toolway.edge.settings import Limits

FORWARDED: Final = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip"}
)
_SINGLE = frozenset({b"host", b"origin", b"content-length", b"transfer-encoding", b"content-encoding"})
_WATCHED = _SINGLE | FORWARDED | {b"access-control-request-method", b"access-control-request-headers"}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_TEXT = re.compile("[\x00-\x1f\x7f]")

HeaderItems = Iterable[tuple[bytes, bytes]]
Watched = dict[bytes, bytes]


def check_head(scope: Scope, limits: Limits) -> Watched:
    """Look at every header once; return the few that the door decides on.

    Raises `Refusal`: 400, 414, 415, 431 or 505.
    """
    seen = _check_headers(scope["headers"], limits)
    _check_target(scope, limits)
    if b"host" not in seen:
        raise Refusal(400, "host_missing", "The request must have exactly one Host header.")
    _check_framing(seen)
    return seen


def body_length(seen: Watched) -> int | None:
    """Bytes that the body will have, None if it is chunked; raises `Refusal` (400)."""
    if b"transfer-encoding" in seen:
        return None
    value = seen.get(b"content-length", b"0")
    if not value.isdigit() or len(value) > 18:
        raise Refusal(400, "bad_framing", "Content-Length must be a number.")
    return int(value)


def _check_headers(headers: HeaderItems, limits: Limits) -> Watched:
    seen: Watched = {}
    total = count = 0
    values = []
    for name, value in headers:
        count += 1
        size = len(name) + len(value) + 4
        total += size
        if size > limits.header_field:
            raise Refusal(431, "headers_too_large", f"A header field may have {limits.header_field} bytes.")
        values.append(value)
        if name in _WATCHED:
            seen[name] = _joined(seen, name, value)
    if total > limits.headers or count > limits.header_count:
        bounds = f"{limits.header_count} header fields and {limits.headers} bytes of them"
        raise Refusal(431, "headers_too_large", f"A request may have {bounds}.")
    if _CONTROL.search(b"".join(values)):
        raise Refusal(400, "bad_header", "A header field contains a control character.")
    return seen


def _joined(seen: Watched, name: bytes, value: bytes) -> bytes:
    if name not in seen:
        return value
    if name in _SINGLE:
        raise Refusal(400, "bad_framing", f"The header {name.decode('ascii')} may occur only once.")
    return seen[name] + b"," + value


def _check_target(scope: Scope, limits: Limits) -> None:
    path: str = scope["path"]
    raw_path = scope.get("raw_path") or b""
    if len(raw_path) + len(scope["query_string"]) + len(scope["method"]) + 12 > limits.request_line:
        raise Refusal(414, "url_too_long", f"A request line may have {limits.request_line} bytes.")
    if scope["http_version"] not in ("1.1", "1.0", "2"):
        raise Refusal(505, "http_version", "This server speaks HTTP/1.1.")
    if path[:1] != "/" or _CONTROL_TEXT.search(path):
        raise Refusal(400, "bad_target", "The request target must be a path without control characters.")


def _check_framing(seen: Watched) -> None:
    if b"transfer-encoding" in seen:
        if b"content-length" in seen:
            raise Refusal(400, "bad_framing", "Content-Length and Transfer-Encoding exclude each other.")
        if seen[b"transfer-encoding"].lower() != b"chunked":
            raise Refusal(501, "bad_framing", "The only transfer coding understood here is chunked.")
    if seen.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(415, "content_encoding", "Send the body without a Content-Encoding.")
