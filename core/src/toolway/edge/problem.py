"""Answers of the door itself: small problem+json bodies (RFC 9457) with a stable code, never exception text."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

import msgspec

PROBLEM_TYPE = b"application/problem+json"

HeaderList = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """The request ends here: an HTTP status, a stable code and a sentence for the client; the connection is closed."""

    def __init__(self, status: int, code: str, detail: str, *, headers: HeaderList | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or []


def problem(status: int, code: str, detail: str, error_id: str | None = None) -> bytes:
    """The body of RFC 9457 section 3.1; `error_id` is what the log has too."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if error_id is not None:
        body["error_id"] = error_id
    return msgspec.json.encode(body)


def problem_headers(body: bytes) -> HeaderList:
    """What every answer of the door carries besides its body."""
    return [
        (b"content-type", PROBLEM_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]


def raw_response(status: int, code: str, detail: str, *, headers: HeaderList | None = None) -> bytes:
    """A whole HTTP/1.1 message that closes the connection, for when no request could be read (RFC 9112 section 9.6)."""
    body = problem(status, code, detail)
    fields = [
        *problem_headers(body),
        (b"date", formatdate(usegmt=True).encode()),
        (b"connection", b"close"),
        *(headers or []),
    ]
    head = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, HTTPStatus(status).phrase.encode(), head, body)
