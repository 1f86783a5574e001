"""What a server tells a principal of itself."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from toolway.catalog.snapshot import ServerView, build_snapshot
from toolway.gateway.access import Access
from toolway.gateway.lists import Lists
from toolway.hookspecs.auth import ANONYMOUS, Decision, Principal, Resource
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Discovery, Eras, Item, Upstream
from toolway.keyring import KeyRing
from toolway_testing.clock import MovedClock

RING = KeyRing([(os.urandom(6), os.urandom(32))])
EVERYTHING: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}}


class Denying:
    """Allows everything but these actions on these names."""

    name = "denying"
    complete = True

    def __init__(self, *denied: str) -> None:
        self.denied = denied

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        is_denied = any(f"{action}:{resource.name}".startswith(each) for each in self.denied)
        return Decision.DENY if is_denied else Decision.ALLOW

    def visibility(self, principal: Principal, server: str) -> str:
        return ""


def view(*items: Item) -> ServerView:
    upstream = Upstream("a", "http", UpstreamSettings(name="a", kind="http"), ())
    found = UpstreamView(upstream, Discovery(Eras("2026-07-28"), EVERYTHING, {}, "", items), "up")
    return build_snapshot(1, [found], [ServerSettings(name="s")]).servers["s"]


TOOL = Item("a", "tool", "x", msgspec.json.encode({"name": "x"}))
PROMPT = Item("a", "prompt", "p", msgspec.json.encode({"name": "p"}))
RESOURCE = Item("a", "resource", "test://1", msgspec.json.encode({"uri": "test://1", "name": "1"}))
TEMPLATE = Item("a", "template", "f:///{p}", msgspec.json.encode({"uriTemplate": "f:///{p}", "name": "f"}))
ALL = (TOOL, PROMPT, RESOURCE, TEMPLATE)


@pytest.mark.parametrize(
    ("items", "denied", "hidden"),
    [
        (ALL, (), set()),
        (ALL, ("tools:call",), set()),
        (ALL, ("prompts:get",), {"prompts"}),
        (ALL, ("resources:read",), {"resources"}),
        (ALL, ("resources:read:a/test",), set()),
        (ALL, ("prompts:get", "resources:read"), {"prompts", "resources", "completions"}),
        ((TOOL, PROMPT), ("prompts:get", "resources:read"), {"prompts"}),
        ((TOOL, TEMPLATE), ("resources:read",), {"resources"}),
        ((TOOL,), ("prompts:get", "resources:read"), set()),
    ],
)
def test_capabilities_leave_out_what_the_principal_may_use_nothing_of(
    items: tuple[Item, ...], denied: tuple[str, ...], hidden: set[str]
) -> None:
    lists = Lists(Access([], [Denying(*denied)], MovedClock()), RING, 10)
    assert lists.capabilities(view(*items), ANONYMOUS).keys() == EVERYTHING.keys() - hidden


def test_a_page_of_a_server_that_was_replaced_meanwhile_is_kept_for_nobody() -> None:
    upstream, servers = Upstream("a", "http", UpstreamSettings(name="a", kind="http"), ()), [ServerSettings(name="s")]
    found = UpstreamView(upstream, Discovery(Eras("2026-07-28"), EVERYTHING, {}, "", (TOOL,)), "up")
    old = build_snapshot(1, [UpstreamView(upstream)], servers)
    new = build_snapshot(2, [found], servers, old)
    lists = Lists(Access([], [Denying()], MovedClock()), RING, 10)

    late, next_one = (
        bytes(lists.page(new, snapshot.servers["s"], "tools/list", "modern", ANONYMOUS, {})) for snapshot in (old, new)
    )

    assert b'"tools":[]' in late
    assert b'"a__x"' in next_one
