"""Answers of the door itself: small problem+json bodies (RFC 9457) with a stable code, never exception text."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

HeaderList = list[tuple[bytes, bytes]]

CLOSE: Final = (b"connection", b"close")
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


class Refusal(Exception):
    """The request ends here: an HTTP status, a stable code and a sentence for the client; the connection is closed.

    `retry_after` is in seconds; `error_id` is what the log has too.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after: int | None = None, error_id: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        problem |= {"code": code} | ({"error_id": error_id} if error_id else {})
        self.body = msgspec.json.encode(problem)
        self.headers: HeaderList = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            CLOSE,
        ]
        if retry_after is not None:
            self.headers.append((b"retry-after", b"%d" % retry_after))

    def message(self) -> bytes:
        """A whole HTTP/1.1 message that closes the connection, for when no request could be read (RFC 9112)."""
        fields = [*self.headers, NOSNIFF, (b"date", formatdate(usegmt=True).encode())]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (self.status, HTTPStatus(self.status).phrase.encode(), head, self.body)
