"""Signed tokens (JWS, RFC 7515): made in one way, and checked in one way."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NoReturn

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from toolway_tokens.keys import MAX_KID, SigningKey, VerifyingKey

MAX_TOKEN = 8000
"""Characters of a token; with the name of its header it fits into a header field of 8 KiB."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class BadSignature(Exception):
    """A token is malformed, of an unknown key, or not signed by it."""


class Signed(msgspec.Struct, frozen=True):
    """What a verified token says."""

    header: dict[str, Any]
    payload: bytes


def signed(key: SigningKey, header: Mapping[str, Any], payload: bytes) -> str:
    """The token in compact form."""
    return jws.serialize_compact({**header, "alg": key.alg, "kid": key.kid}, payload, key.key, registry=_only(key.alg))


def verified(token: str, keys: Mapping[str, VerifyingKey]) -> Signed:
    """What the token says, if the key that it names signed it (RFC 7515 section 5.2, RFC 8725).

    The key is looked up by `kid` and by nothing else, and decides the algorithm. Keys and addresses of keys in the
    header are never looked at; extensions that must be understood (`crit`, and with it `b64`) are not.

    Raises:
        BadSignature: anything else.
    """
    header, _, _ = parts_of(token)
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) and len(kid) <= MAX_KID else None
    if key is None or header.get("alg") != key.alg or not header.keys().isdisjoint(("crit", "b64")):
        raise BadSignature
    try:
        checked = jws.deserialize_compact(token, key.key, registry=_only(key.alg))
    except (JoseError, ValueError, TypeError):
        raise BadSignature from None
    return Signed(header, checked.payload or b"")


def parts_of(token: str) -> tuple[dict[str, Any], bytes, bytes]:
    """Header, payload and signature, nothing verified; raises BadSignature when it is not of that form."""
    segments = token.split(".")
    if len(token) > MAX_TOKEN or len(segments) != 3:
        raise BadSignature
    header, payload, signature = map(_decoded, segments)
    return json_object(header), payload, signature


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object whose names are all different (RFC 7515 section 4); raises BadSignature."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadSignature from None
    if not isinstance(found, dict):
        raise BadSignature
    return found


def _decoded(segment: str) -> bytes:
    """Base64url without padding, each value in its one spelling (RFC 7515 section 2)."""
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise BadSignature
    raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise BadSignature
    return raw


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a name twice")
        found[name] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


@cache
def _only(alg: str) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = MAX_TOKEN
    return registry
