"""`WWW-Authenticate: Bearer …` as upstreams send it (RFC 6750 section 3, RFC 9728 section 5.1)."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?:^|,)\s*Bearer(?:\s+|$)", re.IGNORECASE)
_PARAMETER = re.compile(r'\s*([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCOPE = re.compile(r"[!#-\[\]-~]{1,256}")
MAX_HEADER = 8192
MAX_SCOPES, MAX_LENGTH = 50, 2000
"""Of all scopes together, so that they fit into a link."""


def parameters(header: str) -> dict[str, str]:
    """Those of the Bearer challenge by name; empty when there is none."""
    start = _SCHEME.search(header[:MAX_HEADER])
    found: dict[str, str] = {}
    place = start.end() if start else len(header)
    while match := _PARAMETER.match(header, place, MAX_HEADER):
        name, quoted, plain = match.groups()
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
        place = match.end()
    return found


def scopes_in(text: str) -> tuple[str, ...]:
    """The scopes of a space-separated list, without what is none (RFC 6749 section 3.3)."""
    named = dict.fromkeys(scope for scope in text[:MAX_LENGTH].split(" ") if _SCOPE.fullmatch(scope))
    return tuple(named)[:MAX_SCOPES]


def missing_scopes(header: str) -> tuple[str, ...] | None:
    """What a 403 wants besides; None when it is not about scopes."""
    said = parameters(header)
    return scopes_in(said.get("scope", "")) if said.get("error") == "insufficient_scope" else None
