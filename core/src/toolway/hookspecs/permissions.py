"""Permissions: an action and a pattern over names, such as `tools:call:billing/*`; and limits of credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from toolway.patterns import globs

EVERYTHING = "admin:*"
"""The permission to do anything."""

ITEM_ACTIONS = frozenset({"tools:call", "prompts:get", "resources:read"})
"""What can be done with the items of a server."""
ITEM_AREAS = frozenset(action.partition(":")[0] for action in ITEM_ACTIONS)

REMEMBERED = 10_000
LONGEST = 256
"""Characters; decisions on longer names, such as URIs that somebody makes up, are not remembered."""
PERMISSION = re.compile(r"([a-z][a-z-]*:(?:[a-z][a-z-]*|\*)):([^\s\x00-\x1f]{1,1024})")
"""How one is written, unless it is `EVERYTHING`."""

Network = IPv4Network | IPv6Network


class Permission(msgspec.Struct, frozen=True, order=True):
    """`action` is an area and a verb (`tools:call`, or `servers:*` for every verb), `pattern` is over names.

    Names are canonical: `upstream/item` for tools, prompts and resources, else the object's own. `*` matches anything.
    """

    action: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Permission:
        """Read `action:resource-pattern`, or `admin:*`; raises ValueError with what is wrong."""
        if text == EVERYTHING:
            return cls("*", "*")
        match = PERMISSION.fullmatch(text)
        if match is None:
            what = f"{text!r} is no permission; write action:pattern, such as tools:call:billing/* or admin:*"
            raise ValueError(what)
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return EVERYTHING if self.action == "*" else f"{self.action}:{self.pattern}"


class Permissions:
    """A set of permissions, compiled."""

    def __init__(self, permissions: Iterable[Permission]) -> None:
        by_action: dict[str, list[str]] = {}
        for each in permissions:
            by_action.setdefault(each.action, []).append(each.pattern)
        self._patterns = {action: globs(patterns) for action, patterns in by_action.items()}

    def permit(self, action: str, name: str) -> bool:
        """Whether one of them covers this action on the object of this name."""
        candidates = map(self._patterns.get, (action, f"{action.partition(':')[0]}:*", "*"))
        return any(pattern is not None and pattern.match(name) is not None for pattern in candidates)


class Limits(msgspec.Struct, frozen=True):
    """What a credential allows at most, whatever its holder may do; what is empty limits nothing.

    `scopes` are permissions. `servers` and `items` are patterns over virtual servers and canonical item names; with one
    of them the credential is good for using servers only, not for administration.
    """

    scopes: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def permit(self, action: str, name: str, server: str) -> bool:
        """Whether the action is within the limits; `server` is the virtual server of the request, if there is one."""
        return (Limits._permit if len(name) <= LONGEST else Limits._permit.__wrapped__)(self, action, name, server)

    @lru_cache(REMEMBERED)  # noqa: B019 - bounded; limits live a little longer than their last use
    def _permit(self, action: str, name: str, server: str) -> bool:
        if self.scopes and not self._in_scope(action, name):
            return False
        if not (self.servers or self.items):
            return True
        is_item = action in ITEM_ACTIONS
        is_use = is_item or action == "servers:connect"
        return is_use and _within(self.servers, server) and (not is_item or _within(self.items, name))

    def _in_scope(self, action: str, name: str) -> bool:
        """Whether a scope covers it; a scope on items is of no use without a server, so that is in it."""
        scopes = [Permission.parse(text) for text in self.scopes]
        is_for_items = any(scope.action.partition(":")[0] in ITEM_AREAS for scope in scopes)
        return (action == "servers:connect" and is_for_items) or Permissions(scopes).permit(action, name)


def _within(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or globs(patterns).match(name) is not None


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8` or single addresses; raises ValueError with the text that is none."""
    return tuple(ip_network(text) for text in texts)


def is_within(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a client address is in one of the networks; an address that is none never is."""
    try:
        client = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(client, "ipv4_mapped", None) or client
    return any(mapped in network for network in allowed)
