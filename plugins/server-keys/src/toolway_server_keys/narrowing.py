"""Whoever makes a key with a limited credential hands on no more than that credential is good for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from toolway.hookspecs.auth import Authenticated
from toolway.hookspecs.permissions import Limits, Network, Permission, Permissions, networks
from toolway_server_keys.key import Key
from toolway_server_keys.schemas import NewKey

NO_LIMITS = Limits()


class Bounds(TypedDict):
    """Of a key: what is empty bounds nothing."""

    scopes: tuple[str, ...]
    items: tuple[str, ...]
    networks: tuple[str, ...]


def narrowed(who: Authenticated, asked: NewKey) -> Bounds:
    """The scopes, items and networks of a new key: those asked for, or else those of the credential that makes it."""
    limits = who.principal.limits or NO_LIMITS
    return {
        "scopes": tuple(asked.scopes) or limits.scopes,
        "items": tuple(asked.items) or limits.items,
        "networks": tuple(asked.networks) or tuple(map(str, who.networks)),
    }


def excess(who: Authenticated, key: Key) -> str:
    """The first thing that a key could do and the credential in use could not, in words; empty when there is none."""
    limits = who.principal.limits or NO_LIMITS
    for server in key.servers:
        if not limits.permit("servers:connect", server, server):
            return f"the use of server {server}"
    return _scopes(limits.scopes, key.scopes) or _items(limits.items, key.items) or _networks(who.networks, key)


def _scopes(own: Sequence[str], wanted: Sequence[str]) -> str:
    if not own:
        return ""
    covered = Permissions([Permission.parse(text) for text in own])
    for text in wanted or ("admin:*",):
        scope = Permission.parse(text)
        if not covered.permit(scope.action, scope.pattern):
            return f"the scope {text}"
    return ""


def _items(own: Sequence[str], wanted: Sequence[str]) -> str:
    """A pattern that matches the text of another one matches whatever that one does."""
    if not own:
        return ""
    covered = Permissions([Permission("*", pattern) for pattern in own])
    beyond = (pattern for pattern in wanted or ("*",) if not covered.permit("any:one", pattern))
    return next((f"the items {pattern}" for pattern in beyond), "")


def _networks(own: Sequence[Network], key: Key) -> str:
    if not own:
        return ""
    if not key.networks:
        return "all networks"
    return next((f"the network {one}" for one in networks(key.networks) if not _is_part(one, own)), "")


def _is_part(network: Network, of: Iterable[Network]) -> bool:
    return any(network.version == one.version and network.subnet_of(one) for one in of)  # type: ignore[arg-type]
