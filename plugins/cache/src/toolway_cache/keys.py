"""What makes two calls the same: everything that their upstream could answer differently to.

That is the request, the server that it came through and what else goes along; and the principal with its credential
and the protocol version and capabilities of its client, unless everybody may have the same answer (MCP 2026-07-28,
caching). Then only the era makes a difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile

MCP_PREFIX = "io.modelcontextprotocol/"
PROGRESS = "progressToken"
TRACING = frozenset({"traceparent", "tracestate", "baggage", "x-request-id"})
"""Headers and `_meta` that the gateway's own plugins send along, and that say nothing about the request."""

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


class Keys:
    """Makes keys; `ignored` are members of `_meta` that make no difference."""

    def __init__(self, ignored: Iterable[str]) -> None:
        self._ignored = frozenset(ignored) | {PROGRESS} | TRACING

    def of(self, call: Call, upstream: str, principal: Principal | None, session: str) -> bytes:
        """The key of this call, of the principal or of everybody."""
        client, who = call.client, b""
        seen: tuple[str, str] = ("", client.era)
        if principal is not None:
            who, seen = _ENCODER.encode(principal), (_capabilities(client), client.version)
        parts = (_request(call), call.server, upstream, *seen, session)
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return blake2b(b"%b\0%d\0%b%b" % (text, len(who), who, self._along(call)), digest_size=16).digest()

    def _along(self, call: Call) -> bytes:
        """What else goes to the upstream; mostly nothing."""
        ignored = self._ignored
        meta = [key for key in call.meta if key not in ignored and not key.startswith(MCP_PREFIX)]
        headers = [name for name in call.outgoing_headers if name.lower() not in ignored]
        more = [key for key in call.outgoing_meta if key not in ignored]
        if not (meta or headers or more):
            return b""
        found = (
            [(key, bytes(call.meta[key])) for key in sorted(meta)],
            [(name.lower(), call.outgoing_headers[name]) for name in sorted(headers)],
            [(key, bytes(call.outgoing_meta[key])) for key in sorted(more)],
        )
        return _ENCODER.encode(found)


def _request(call: Call) -> str:
    """The digest of method and params, however a client spaces its JSON.

    Order, members that stand twice and the way numbers are written make a difference: upstreams may see one in them.
    """
    hashed = blake2b(call.method.encode(), digest_size=32)
    for key in sorted(call.params):
        name, value = key.encode(), msgspec.json.format(bytes(call.params[key]), indent=-1)
        hashed.update(b"%d %d %b%b" % (len(name), len(value), name, value))
    return hashed.hexdigest()


def _capabilities(client: ClientProfile) -> str:
    """The digest of what a client declared, made once for each profile."""
    known: str | None = client.__dict__.get("cache_digest")
    if known is None:
        known = client.__dict__["cache_digest"] = client.capability_digest()
    return known
