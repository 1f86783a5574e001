"""Credentials that the request that is being served came with: known by their text, whatever their form."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, unquote

from toolway.hookspecs.telemetry import SERVED, RequestWatcher, Served

SHORTEST = 6
"""Shorter values are not replaced: they would blot out ordinary words."""
MOST, MOST_NAMES = 100, 1_000
_KEPT = "masking"
_PLAIN = re.compile(r"[A-Za-z0-9._~+/=: -]+")


class Presented(RequestWatcher):
    """Watches requests so that there is one to ask; what it presents is looked for when something is told."""

    name = "masking"

    def __init__(self, is_secret: Callable[[str], bool]) -> None:
        """`is_secret` says it of names of headers and parameters."""
        self._is_secret = is_secret
        self._headers: dict[bytes, bool] = {}

    def values(self) -> tuple[str, ...]:
        """What must not be told of the request that is being served, the longest first."""
        request = SERVED.get()
        if request is None:
            return ()
        known: tuple[str, ...] | None = request.__dict__.get(_KEPT)
        if known is None:
            found = {form for each in self._values(request) if len(each) >= SHORTEST for form in _forms(each)}
            known = request.__dict__[_KEPT] = tuple(sorted(found, key=len, reverse=True)[:MOST])
        return known

    def _learned(self, name: bytes) -> bool:
        if len(self._headers) >= MOST_NAMES:
            self._headers.clear()
        found = self._headers[name] = self._is_secret(name.decode("latin-1"))
        return found

    def _values(self, request: Served) -> Iterator[str]:
        for name, value in request.scope.get("headers", ()):
            is_secret = self._headers.get(name)
            if is_secret or (is_secret is None and self._learned(name)):
                yield from _credentials(value.decode("latin-1"))
        query: bytes = request.scope.get("query_string", b"")
        for name, text in parse_qsl(query.decode("latin-1"), max_num_fields=1_000) if query else ():
            if self._is_secret(name):
                yield text


def _credentials(value: str) -> Iterator[str]:
    """A header's value, without its scheme, cookie by cookie, and the password of Basic (RFC 7617)."""
    yield value
    scheme, _, rest = value.partition(" ")
    if rest:
        yield rest.strip()
    for cookie in value.split(";"):
        yield cookie.partition("=")[2].strip()
    if scheme.lower() == "basic":
        yield from _basic(rest)


def _basic(credential: str) -> Iterator[str]:
    try:
        decoded = base64.b64decode(credential, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    yield decoded
    yield decoded.partition(":")[2]


def _forms(value: str) -> Iterator[str]:
    yield value
    if _PLAIN.fullmatch(value) is None:
        yield json.dumps(value)[1:-1]
        yield repr(value)[1:-1]
        yield unquote(value)
