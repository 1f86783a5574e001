"""What virtual servers show of several upstreams: naming, collisions, selections and pages."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fronts
import pytest
import running
import wire

from toolway_testing.polling import eventually_now

PAGE_SIZE = 5
INVALID_PARAMS = -32602
ERAS = ("modern", "legacy")
SERVERS = """
[[servers]]
name = "prefixed"
access = "public"
include = ["server-a/*", "server-b/*"]

[[servers]]
name = "plain"
access = "public"
naming = "plain"
include = ["server-a/*", "server-b/*"]

[[servers]]
name = "resolved"
access = "public"
naming = "plain"
on_collision = "prefix"
include = ["server-a/*", "server-b/*", "raw/*"]

[[servers]]
name = "aliased"
access = "public"
naming = "plain"
include = ["server-a/echo", "server-b/echo", "server-b/*count*"]
exclude = ["*/cancelled*"]

[servers.items."server-b/echo"]
alias = "echo_of_b"
title = "B"
description = "Says it again."
arguments = { fixed = "by the operator" }

[[servers]]
name = "self-made"
access = "public"
naming = "plain"
include = ["server-a/echo", "server-b/big", "raw/echo_raw"]

[servers.items."server-b/big"]
alias = "echo"
"""


@dataclass(frozen=True)
class Composed:
    """A gateway with two equal upstreams and a third one."""

    gate: running.Gateway
    token: str

    def modern(self, server: str) -> wire.ModernClient:
        return wire.ModernClient(f"{self.gate.url}/servers/{server}/mcp")

    def client(self, server: str, era: str) -> wire.ModernClient | wire.LegacyClient:
        url = f"{self.gate.url}/servers/{server}/mcp"
        return wire.LegacyClient(url) if era == "legacy" else wire.ModernClient(url)

    def listed(self, server: str, method: str = "tools/list", era: str = "modern") -> list[Any]:
        """Every page of a list."""
        client, entries = self.client(server, era), []
        for page in pages(client, method):
            entries += next(value for value in page.values() if isinstance(value, list))
        return entries

    def names(self, server: str) -> list[str]:
        return [tool["name"] for tool in self.listed(server)]

    def collisions(self, server: str) -> list[dict[str, Any]]:
        """What the administrator is told."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = wire.send(f"{self.gate.url}/api/v1/servers/{server}/collisions", headers=headers)
        reported: list[dict[str, Any]] = json.loads(answer.body)["items"]
        return reported


def pages(client: wire.ModernClient | wire.LegacyClient, method: str) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = client.request(method, cursor).result
        yield page
        if "nextCursor" not in page:
            return
        cursor = {"cursor": page["nextCursor"]}


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    directory = tmp_path_factory.mktemp("composed")
    with (
        running.everything(directory) as a,
        running.everything(directory) as b,
        running.raw_upstream(directory) as raw,
    ):
        tables = "".join(running.upstream_table(*each) for each in (("server-a", a), ("server-b", b), ("raw", raw)))
        whole = f"page_size = {PAGE_SIZE}\n\n{tables}{running.server_table('*/*', naming='prefix')}{SERVERS}"
        with running.gateway(directory, whole) as gate:
            composed = Composed(gate, fronts.admin_token(gate))
            eventually_now(lambda: {"server-a", "server-b", "raw"} <= upstreams(composed), 30)
            yield composed


def upstreams(composed: Composed) -> set[str]:
    return {name.partition("__")[0] for name in composed.names("conformance")}


# ---------------------------------------------------------------------------------------- naming


def test_prefixed_names_show_both_upstreams_whole(composed: Composed) -> None:
    names = composed.names("prefixed")

    of_a, of_b = ({name[10:] for name in names if name.startswith(side)} for side in ("server-a__", "server-b__"))
    assert of_a == of_b
    assert len(names) == 2 * len(of_a) > 50
    assert {each["kind"] for each in composed.collisions("prefixed")} <= {"resource", "template"}


@pytest.mark.parametrize("name", ["server-a__echo", "server-b/echo"])
def test_an_item_is_called_by_its_exposed_and_by_its_canonical_name(composed: Composed, name: str) -> None:
    assert json.loads(composed.modern("prefixed").call(name, {"a": 1}).text) == {"a": 1}


def test_each_name_leads_to_its_own_upstream(composed: Composed) -> None:
    client = composed.modern("prefixed")
    before = [_watched(client, side) for side in "ab"]

    client.call("server-b/bump_resource")

    after = [_watched(client, side) for side in "ab"]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


def test_every_exposed_name_is_one_that_a_language_model_accepts(composed: Composed) -> None:
    for server in ("prefixed", "plain", "resolved", "aliased", "conformance"):
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in composed.names(server))


# ---------------------------------------------------------------------------------------- collisions


def test_plain_names_that_collide_are_left_out_and_reported_with_both_sides(composed: Composed) -> None:
    reported = {(each["kind"], each["name"]): each for each in composed.collisions("plain")}

    assert composed.names("plain") == []
    echo = reported["tool", "echo"]
    assert (echo["items"], echo["resolved"]) == (["server-a/echo", "server-b/echo"], "error")
    assert reported["prompt", "test_simple_prompt"]["items"] == [f"server-{side}/test_simple_prompt" for side in "ab"]


def test_a_name_that_collides_calls_nobody(composed: Composed) -> None:
    answer = composed.modern("plain").call("echo")

    assert answer.code == INVALID_PARAMS


def test_a_server_tells_how_many_collisions_it_has(composed: Composed) -> None:
    answer = wire.send(
        f"{composed.gate.url}/api/v1/servers/plain", headers={"Authorization": f"Bearer {composed.token}"}
    )

    assert json.loads(answer.body)["meta"]["collisions"] == len(composed.collisions("plain")) > 0


def test_collisions_can_be_resolved_by_prefixing_only_those(composed: Composed) -> None:
    names = composed.names("resolved")

    assert {"server-a__echo", "server-b__echo", "echo_raw"} <= set(names)
    assert "echo" not in names
    assert {each["resolved"] for each in composed.collisions("resolved") if each["kind"] == "tool"} == {"prefix"}


def test_an_alias_never_shadows_another_item(composed: Composed) -> None:
    (reported,) = composed.collisions("self-made")

    assert composed.names("self-made") == ["echo_raw"]
    assert reported["items"] == ["server-a/echo", "server-b/big"]
    assert composed.modern("self-made").call("echo").code == INVALID_PARAMS


def test_resources_that_collide_are_both_listed_in_the_gateways_form_and_reported(composed: Composed) -> None:
    uris = [entry["uri"] for entry in composed.listed("prefixed", "resources/list")]
    reported = composed.collisions("prefixed")

    own = [f"toolway://server-{side}/test%3A%2F%2Fstatic-text" for side in "ab"]
    assert set(own) <= set(uris)
    assert "test://static-text" not in uris
    assert {each["resolved"] for each in reported if each["kind"] == "resource"} == {"uri"}


def test_a_resource_in_the_gateways_form_is_read_from_its_upstream(composed: Composed) -> None:
    client = composed.modern("prefixed")
    before = [_watched(client, side) for side in "ab"]
    client.call("server-a__bump_resource")

    after = [_watched(client, side) for side in "ab"]

    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_colliding_resource_by_its_own_uri_is_refused_with_the_candidates(composed: Composed) -> None:
    answer = composed.modern("prefixed").request("resources/read", {"uri": "test://static-text"})

    assert answer.code == INVALID_PARAMS
    assert all(side in answer.reply["error"]["message"] for side in ("server-a", "server-b"))


def test_a_template_in_the_gateways_form_keeps_its_expressions(composed: Composed) -> None:
    templates = [entry["uriTemplate"] for entry in composed.listed("prefixed", "resources/templates/list")]

    (own,) = [each for each in templates if each.startswith("toolway://server-b/")]
    answer = composed.modern("prefixed").request("resources/read", {"uri": own.replace("{id}", "7")})
    assert json.loads(answer.result["contents"][0]["text"])["id"] == "7"


# ---------------------------------------------------------------------------------------- selections


def test_include_and_exclude_select_and_an_alias_renames(composed: Composed) -> None:
    assert composed.names("aliased") == ["echo", "echo_of_b", "running_count"]


def test_an_item_that_is_not_selected_is_not_reached_by_any_name(composed: Composed) -> None:
    client = composed.modern("aliased")

    answers = [client.call(name) for name in ("server-a/big", "server-a__big", "big", "server-b/cancelled_count")]

    assert {answer.code for answer in answers} == {INVALID_PARAMS}


def test_an_item_is_shown_as_the_operator_describes_it(composed: Composed) -> None:
    (tool,) = [tool for tool in composed.listed("aliased") if tool["name"] == "echo_of_b"]

    assert (tool["title"], tool["description"]) == ("B", "Says it again.")


def test_arguments_fixed_by_the_operator_win(composed: Composed) -> None:
    answer = composed.modern("aliased").call("echo_of_b", {"fixed": "by the client", "own": 1})

    assert json.loads(answer.text) == {"fixed": "by the operator", "own": 1}


@pytest.mark.parametrize(
    "uri",
    [
        "toolway://raw/test%3A%2F%2Fa",
        "toolway://server-b/test%3A%2F%2Fstatic-text",
        "toolway://server-b/test%3A%2F%2Ftemplate%2F7%2Fdata",
        "test://static-text",
        "test://template/7/data",
        "toolway://",
        "toolway://server-b",
    ],
)
def test_a_resource_that_is_not_selected_is_not_read_by_any_uri(composed: Composed, uri: str) -> None:
    answer = composed.modern("aliased").request("resources/read", {"uri": uri})

    assert answer.code == INVALID_PARAMS


# ---------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"])
def test_all_pages_together_are_the_list_in_order_without_repetition(composed: Composed, era: str, method: str) -> None:
    client = composed.client("conformance", era)

    found = [next(value for value in page.values() if isinstance(value, list)) for page in pages(client, method)]

    keys = [entry.get("uri") or entry.get("uriTemplate") or entry["name"] for page in found for entry in page]
    assert [len(page) for page in found[:-1]] == [PAGE_SIZE] * (len(found) - 1)
    assert keys == sorted(set(keys))


def test_the_pages_of_one_list_share_their_cache_scope(composed: Composed) -> None:
    scopes = {page["cacheScope"] for page in pages(composed.modern("conformance"), "tools/list")}

    assert len(scopes) == 1


@pytest.mark.parametrize("era", ERAS)
def test_a_cursor_that_was_changed_or_is_of_another_list_is_refused(composed: Composed, era: str) -> None:
    client = composed.client("conformance", era)
    cursor = client.request("tools/list").result["nextCursor"]
    wrong = [cursor[:-1] + ("A" if cursor[-1] != "A" else "B"), cursor[:-3], "", "5", "é"]

    answers = [client.request("tools/list", {"cursor": each}) for each in wrong]
    foreign = [
        client.request("prompts/list", {"cursor": cursor}),
        composed.client("prefixed", era).request("tools/list", {"cursor": cursor}),
    ]

    assert {answer.code for answer in [*answers, *foreign]} == {INVALID_PARAMS}


def test_a_list_that_changes_between_two_pages_neither_repeats_nor_breaks(composed: Composed) -> None:
    client = composed.modern("prefixed")
    first = client.request("tools/list").result
    client.call("server-a__add_tool")
    eventually_now(lambda: "server-a__added_tool" in composed.names("prefixed"))

    second = client.request("tools/list", {"cursor": first["nextCursor"]}).result

    names = [tool["name"] for tool in first["tools"] + second["tools"]]
    assert names == sorted(set(names))
    client.call("server-a__remove_tool")


def _watched(client: wire.ModernClient, side: str) -> str:
    uri = f"toolway://server-{side}/test%3A%2F%2Fwatched-resource"
    return str(client.request("resources/read", {"uri": uri}).result["contents"][0]["text"])
