"""What a token says: the claims that are written, and the only ones that are accepted (RFC 7519, RFC 9068)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from toolway_tokens.signatures import BadSignature, Signed, json_object

TYP = "at+jwt"
"""RFC 9068: it is an access token; the ID token of some provider is none."""
LEEWAY = 60.0
"""Seconds by which the clocks of nodes may differ."""
MAX_SCOPES = 100
MAX_ID = 128

_LAST = 2.0**53


class Claims(msgspec.Struct, frozen=True):
    """Times are Unix seconds."""

    jti: str
    sub: str
    iss: str
    aud: str
    iat: int
    nbf: int
    exp: int
    scope: str = ""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The permissions that the token is limited to."""
        return tuple(self.scope.split())

    def encoded(self) -> bytes:
        """The payload."""
        return msgspec.json.encode(self)


def accepted(signed: Signed, issuer: str, audience: str, now: float) -> Claims:
    """The claims of a verified token, complete, of the right types, for us and of this time; raises BadSignature."""
    said = json_object(signed.payload)
    if signed.header.get("typ") != TYP or said.get("iss") != issuer or said.get("aud") != audience:
        raise BadSignature
    starts, issued, ends = (_time(said, name) for name in ("nbf", "iat", "exp"))
    if not (starts <= now + LEEWAY and issued <= now + LEEWAY and now < ends + LEEWAY):
        raise BadSignature
    scope = said.get("scope", "")
    if not isinstance(scope, str) or len(scope.split()) > MAX_SCOPES:
        raise BadSignature
    jti, sub = _text(said, "jti"), _text(said, "sub")
    return Claims(jti, sub, issuer, audience, int(issued), int(starts), int(ends), scope)


def _time(said: Mapping[str, Any], name: str) -> float:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadSignature
    if not (math.isfinite(value) and 0 <= value < _LAST):
        raise BadSignature
    return float(value)


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise BadSignature
    return value
