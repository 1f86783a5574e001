"""What servers show and where names and URIs lead."""

import json
from typing import Any

import msgspec
import pytest

from toolway.catalog.snapshot import ServerView, Snapshot, build_snapshot
from toolway.catalog.uris import UnknownUri
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings, Visibility
from toolway.hookspecs.routing import Discovery, Eras, Item, ItemKind, Upstream

KEYS: dict[ItemKind, str] = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}


def item(upstream: str, kind: ItemKind, name: str, **members: Any) -> Item:
    return Item(upstream, kind, name, msgspec.json.encode({KEYS[kind]: name, **members}))


def upstream(
    name: str,
    *items: Item,
    enabled: bool = True,
    owner: str = "",
    visibility: Visibility = "public",
    **capabilities: Any,
) -> UpstreamView:
    settings = UpstreamSettings(name=name, kind="http", enabled=enabled, owner=owner, visibility=visibility)
    discovery = Discovery(Eras("2026-07-28"), capabilities, {}, f"Use {name}.", items)
    return UpstreamView(Upstream(name, "http", settings, ()), discovery, "up")


def view(*upstreams: UpstreamView, **settings: Any) -> ServerView:
    server = ServerSettings.model_validate({"name": "s", **settings})
    return build_snapshot(1, upstreams, [server]).servers["s"]


def names(server: ServerView, kind: ItemKind = "tool") -> list[str]:
    return [exposed.name for exposed in server.listed(kind)]


A = upstream("a", item("a", "tool", "x"), item("a", "resource", "test://1"), item("a", "template", "f:///{p}"))
B = upstream("b", item("b", "tool", "x"), item("b", "resource", "test://1"), item("b", "resource", "test://2"))


def test_items_are_listed_by_exposed_name_and_found_by_canonical_name_too() -> None:
    server = view(B, A)
    assert names(server) == ["a__x", "b__x"]
    found = server.find("tool", "b__x")
    assert found is not None and found is server.find("tool", "b/x")
    assert (found.target.upstream, found.target.name) == ("b", "x")
    assert server.find("tool", "x") is None
    assert server.find("prompt", "b__x") is None


def test_unknown_members_and_big_integers_of_list_entries_survive() -> None:
    raw = b'{"name":"x","vendor":{"n":123456789012345678901234567890,"f":1.0},"inputSchema":{"$anchor":"q"}}'
    server = view(upstream("a", Item("a", "tool", "x", raw)))
    assert server.listed("tool")[0].raw == raw.replace(b'"x"', b'"a__x"', 1)


def test_a_server_can_rename_redescribe_and_fix_arguments() -> None:
    schema = {"type": "object", "properties": {"p": {"type": "string"}, "q": {}}, "required": ["p", "q"]}
    override = {"alias": "y", "title": "T", "description": "D", "arguments": {"p": "fixed"}}
    shown = view(upstream("a", item("a", "tool", "x", inputSchema=schema)), items={"a/x": override}).listed("tool")[0]
    assert json.loads(shown.raw) == {
        "name": "y",
        "inputSchema": {"type": "object", "properties": {"q": {}}, "required": ["q"]},
        "title": "T",
        "description": "D",
    }
    assert shown.target.fixed == {"p": "fixed"}


def test_patterns_choose_items_and_what_is_excluded_is_not_found() -> None:
    server = view(A, B, include=["*/x"], exclude=["b/*"])
    assert names(server) == ["a__x"]
    assert server.find("tool", "b/x") is None
    assert server.upstreams() == ("a",)


def test_colliding_uris_are_all_listed_in_own_form_and_reported() -> None:
    server = view(A, B)
    assert names(server, "resource") == ["test://2", "toolway://a/test%3A%2F%2F1", "toolway://b/test%3A%2F%2F1"]
    assert [(c.name, c.items, c.resolved) for c in server.collisions] == [
        ("test://1", ("a/test://1", "b/test://1"), "uri")
    ]


OF_TEAM = upstream(
    "b",
    item("b", "tool", "x"),
    item("b", "resource", "test://1"),
    item("b", "resource", "test://2"),
    owner="team:ops",
    visibility="team",
)


@pytest.mark.parametrize(
    ("include", "owner"), [(["*/*"], ""), (["*/*"], "team:web"), (["b*/*", "a/*"], ""), (["*"], "user:ops")]
)
def test_an_upstream_that_is_not_public_takes_no_name_and_no_uri_from_others(include: list[str], owner: str) -> None:
    server = view(A, OF_TEAM, include=include, owner=owner, naming="plain")
    alone = view(A, include=["a/*"], naming="plain")
    assert names(server) == names(alone) == ["x"]
    assert names(server, "resource") == names(alone, "resource") == ["test://1"]
    assert (server.collisions, server.upstreams()) == ((), ("a",))
    assert (server.capabilities, server.is_for_all) == (alone.capabilities, True)
    assert server.resolve_uri("test://1").upstream == server.resolve_uri("other://1").upstream == "a"
    with pytest.raises(UnknownUri):
        server.resolve_uri("toolway://b/test%3A%2F%2F2")


@pytest.mark.parametrize(("include", "owner"), [(["*/*"], "team:ops"), (["a/*", "b/*"], ""), (["*/*", "b/*"], "")])
def test_it_joins_servers_of_its_owner_and_those_that_name_it(include: list[str], owner: str) -> None:
    server = view(A, OF_TEAM, include=include, owner=owner)
    assert names(server) == ["a__x", "b__x"]
    assert server.resolve_uri("test://2").upstream == "b"
    assert not server.is_for_all


def test_a_private_upstream_without_an_owner_joins_by_name_only() -> None:
    ownerless = upstream("b", item("b", "tool", "x"), visibility="private")
    assert names(view(A, ownerless)) == ["a__x"]
    assert names(view(A, ownerless, include=["b/*"])) == ["b__x"]


def test_a_named_item_of_a_private_upstream_brings_no_other() -> None:
    server = view(A, OF_TEAM, include=["*/*", "b/x"])
    assert names(server) == ["a__x", "b__x"]
    assert names(server, "resource") == ["test://1"]
    assert server.resolve_uri("test://1").upstream == "a"
    with pytest.raises(UnknownUri):
        server.resolve_uri("toolway://b/test%3A%2F%2F1")


def test_own_and_exact_uris_lead_back() -> None:
    server = view(A, B)
    own = server.resolve_uri("toolway://b/test%3A%2F%2F1")
    assert (own.upstream, own.name) == ("b", "test://1")
    assert own.item is not None and own.item.canonical == "b/test://1"
    assert server.resolve_uri("test://2").upstream == "b"


def test_an_ambiguous_uri_is_refused_with_its_candidates() -> None:
    with pytest.raises(UnknownUri) as refused:
        view(A, B).resolve_uri("test://1")
    assert refused.value.candidates == ("a/test://1", "b/test://1")


def test_a_matching_template_leads_to_its_upstream() -> None:
    target = view(A, B).resolve_uri("f:///readme")
    assert (target.upstream, target.name, target.item) == ("a", "f:///readme", None)


def test_colliding_templates_keep_their_expressions_and_expansions_lead_back() -> None:
    other = upstream("c", item("c", "template", "f:///{p}"))
    server = view(A, other)
    assert names(server, "template") == ["toolway://a/f%3A%2F%2F%2F{p}", "toolway://c/f%3A%2F%2F%2F{p}"]
    assert server.find("template", "toolway://c/f%3A%2F%2F%2F{p}") is not None
    target = server.resolve_uri("toolway://c/f%3A%2F%2F%2Fone%2Ftwo")
    assert (target.upstream, target.name) == ("c", "f:///one%2Ftwo")
    with pytest.raises(UnknownUri):
        server.resolve_uri("f:///one")


def test_an_unlisted_uri_goes_to_the_only_upstream_with_resources() -> None:
    tools = upstream("c", item("c", "tool", "x"), tools={})
    assert view(A, tools).resolve_uri("other://1").upstream == "a"
    with pytest.raises(UnknownUri) as refused:
        view(A, B, tools).resolve_uri("other://1")
    assert refused.value.candidates == ("a", "b")


@pytest.mark.parametrize("uri", ["test://1", "toolway://a/test%3A%2F%2F1", "f:///etc", "toolway://a/f%3A%2F%2F%2Fetc"])
def test_excluded_uris_are_not_readable_in_any_form(uri: str) -> None:
    server = view(A, exclude=["a/test://*", "a/f:///etc*"])
    with pytest.raises(UnknownUri):
        server.resolve_uri(uri)
    assert server.resolve_uri("f:///home").upstream == "a"


def test_own_form_uris_reach_only_upstreams_of_the_server() -> None:
    with pytest.raises(UnknownUri):
        view(A, B, include=["a/*"]).resolve_uri("toolway://b/test%3A%2F%2F2")


def test_the_ui_resource_of_a_listed_tool_is_readable_and_rewritten_when_it_collides() -> None:
    widget = {"ui": {"resourceUri": "ui://w", "visibility": ["model"]}}
    first = upstream("a", item("a", "tool", "x", _meta=widget))
    second = upstream("b", item("b", "tool", "x", _meta={"ui/resourceUri": "ui://w"}))
    assert view(first).resolve_uri("ui://w").upstream == "a"
    both = view(first, second)
    raws = [json.loads(exposed.raw)["_meta"] for exposed in both.listed("tool")]
    assert raws[0] == {"ui": {"resourceUri": "toolway://a/ui%3A%2F%2Fw", "visibility": ["model"]}}
    assert raws[1] == {"ui/resourceUri": "toolway://b/ui%3A%2F%2Fw"}
    assert both.resolve_uri("toolway://b/ui%3A%2F%2Fw").upstream == "b"


def test_capabilities_are_the_union_of_what_is_offered_and_bridged() -> None:
    ui = {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}, "com.example/x": {}}
    first = upstream("a", tools={}, resources={"subscribe": True}, tasks={}, extensions=ui, experimental={"x": {}})
    second = upstream("b", prompts={}, completions={}, logging={}, resources={})
    assert view(first, second).capabilities == {
        "completions": {},
        "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}},
        "logging": {},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "tools": {"listChanged": True},
    }


def test_an_upstream_that_was_never_seen_may_offer_any_list() -> None:
    pending = UpstreamView(Upstream("a", "http", UpstreamSettings(name="a", kind="http"), ()))
    assert view(pending).capabilities.keys() == {"tools", "prompts", "resources"}


def test_the_instructions_of_each_upstream_are_known() -> None:
    assert view(A, B).instructions == {"a": "Use a.", "b": "Use b."}


def test_a_disabled_upstream_offers_nothing() -> None:
    off = upstream("a", item("a", "tool", "x"), enabled=False)
    snapshot = build_snapshot(1, [off], [ServerSettings(name="s")])
    assert snapshot.servers["s"].listed("tool") == ()
    assert "a" in snapshot.upstreams


def test_repeated_and_malformed_entries_are_left_out_and_told() -> None:
    broken = upstream("a", item("a", "tool", "x"), item("a", "tool", "x", title="2"), Item("a", "tool", "y", b"[1]"))
    snapshot = build_snapshot(1, [broken], [ServerSettings(name="s")])
    assert names(snapshot.servers["s"]) == ["a__x"]
    assert len(snapshot.problems) == 2


def test_what_did_not_change_is_taken_over() -> None:
    servers = [ServerSettings(name="all"), ServerSettings(name="only-a", include=("a/*",))]
    before = build_snapshot(1, [A, B], servers)
    after = build_snapshot(2, [A, upstream("b")], servers, before)
    assert after.parsed["a"] is before.parsed["a"]
    assert after.servers["only-a"] is before.servers["only-a"]
    assert after.servers["all"] is not before.servers["all"]
    assert _rebuilt(before, servers).servers["all"] is before.servers["all"]


def test_an_upstream_leaves_and_joins_as_its_visibility_changes() -> None:
    servers = [ServerSettings(name="all"), ServerSettings(name="only-a", include=("a/*",))]
    public = build_snapshot(1, [A, B], servers)
    hidden = build_snapshot(2, [A, OF_TEAM], servers, public)
    again = build_snapshot(3, [A, B], servers, hidden)
    assert [names(each.servers["all"]) for each in (public, hidden, again)] == [
        ["a__x", "b__x"],
        ["a__x"],
        ["a__x", "b__x"],
    ]
    assert public.servers["only-a"] is hidden.servers["only-a"] is again.servers["only-a"]
    assert _rebuilt(hidden, servers).servers["all"] is hidden.servers["all"]


def _rebuilt(before: Snapshot, servers: list[ServerSettings]) -> Snapshot:
    return build_snapshot(2, list(before.upstreams.values()), servers, before)
