"""What the head of a request says to the data plane: found out once where the same head comes again."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw
from starlette.types import Scope

from toolway.hookspecs.auth import credential_key
from toolway.hookspecs.serving import FIELDS, KNOWN
from toolway.mcp import versions
from toolway.mcp.headers import unfit_for_message

PATH = re.compile(r"(?:/servers/([a-z0-9-]{1,48}))?/(mcp|sse|messages)")
LEGACY = tuple(version.encode() for version in versions.LEGACY)


class Head(msgspec.Struct, frozen=True, eq=False):
    """Of a request to a virtual `server`, empty for all others; `what` is the end of its path, and the HTTP method.

    `credential` is the digest of one. `unfit` is why it cannot be a POST with a message: a status, and what to do.
    `is_modern` is None where only the message tells. `method` and `name` are what the message has to have too, the name
    only where that needs no decoding, and `quoted` is its JSON. `repeats` says that a header came more than once, and
    `route` is the template of the path.
    """

    server: str = ""
    what: tuple[str, str] = ("", "")
    credential: bytes | None = None
    unfit: tuple[int, str] | None = None
    is_modern: bool | None = None
    method: str = ""
    name: str = ""
    quoted: Raw = Raw(b"")
    repeats: bool = False
    route: str = ""


def head_of(scope: Scope) -> Head:
    """Of a request that has passed the edge."""
    known: dict[Any, Head] = scope.get(KNOWN, {})
    return known.get(Head) or known.setdefault(Head, _read(scope))


def _read(scope: Scope) -> Head:
    match = PATH.fullmatch(scope["path"].removeprefix(scope.get("root_path", "")))
    if match is None:
        return Head()
    server, fields, headers = match[1] or "all", scope[FIELDS], scope["headers"]
    version, name = fields.get(b"mcp-protocol-version", LEGACY[0]), fields.get(b"mcp-name", b"")
    is_plain = name.isascii() and name[:2] != b"=?" and b"\\" not in name
    plain, quoted = (name.decode(), Raw(b'"%b"' % name)) if is_plain else ("", Raw(b""))
    credential = credential_key(server, fields.get(b"authorization"), fields.get(b"x-api-key"))
    unfit = unfit_for_message(fields.get(b"content-type", b""), fields.get(b"accept", b""))
    is_modern = None if version in LEGACY else version >= b"2026-07-28" or b"mcp-session-id" not in fields
    method, repeats = fields.get(b"mcp-method", b"").decode("latin-1"), len(dict(headers)) != len(headers)
    what, route = (match[2], scope["method"]), f"/servers/{{server}}/{match[2]}"
    return Head(server, what, credential, unfit, is_modern, method, plain, quoted, repeats, route)
