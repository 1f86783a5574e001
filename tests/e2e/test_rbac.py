"""Who may do what, through processes: one node and two, both databases, with real clients."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fronts
import httpx2
import pytest
import running
import wire
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from toolway_testing import trusting
from toolway_testing.polling import eventually_now
from toolway_testing.postgres import Postgres, execute

WATCHED = "test://watched-resource"
OWNED = '[[upstreams]]\nname = "theirs"\nkind = "http"\nendpoints = ["{url}"]\nallow_private = true\n'
OWNED += 'owner = "team:ops"\nvisibility = "team"\n\n'
SERVER = '[[servers]]\nname = "{name}"\ninclude = ["{name}/*"]\n\n'
BOTH = '[[servers]]\nname = "both"\ninclude = ["public/*", "theirs/*"]\n\n'
SHARED = 'database = "literal:{database}"\nroot_key = "literal:{key}"\nkeyvalue = "database"\npubsub = "database"\n\n'
PLUGINS = '[plugins]\nenable = ["trusting", "rbac"]\n\n'
REVOKED_WITHIN = 1.0

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Cluster:
    """Its nodes; the first one's administrator changes things, users are on the last one."""

    nodes: tuple[running.Gateway, ...]
    token: str

    def api(self, method: str, path: str, body: Any = None, who: str = "") -> wire.Answer:
        """A request to the API of the first node, by the administrator unless somebody is named."""
        credential = trusting.bearer(who) if who else {"authorization": f"Bearer {self.token}"}
        content = None if body is None else wire.encode(body)
        headers = {"Content-Type": "application/json", **credential}
        return wire.send(f"{self.nodes[0].url}/api/v1{path}", method, content, headers)

    def bind(self, name: str, subject: str, given: str, **more: Any) -> None:
        kind = "permission" if ":" in given else "role"
        made = self.api("PUT", f"/bindings/{name}", {"name": name, "subject": subject, kind: given, **more})
        assert made.status in (200, 201), made.body

    def url(self, server: str) -> str:
        return f"{self.nodes[-1].url}/servers/{server}/mcp"

    def as_(self, who: str, server: str = "both") -> wire.ModernClient:
        return wire.ModernClient(self.url(server), headers=trusting.bearer(who))

    def names(self, who: str, method: str = "tools/list", server: str = "both") -> set[str]:
        """The names or URIs that somebody is shown; none when the server is refused."""
        answer = self.as_(who, server).request(method)
        found = (
            next((each for each in answer.result.values() if isinstance(each, list)), [])
            if answer.status == 200
            else []
        )
        return {each.get("uri") or each.get("uriTemplate") or each["name"] for each in found}


@pytest.fixture(scope="module", params=[("sqlite", 1), ("sqlite", 2), ("postgres", 1), ("postgres", 2)], ids=str)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kind, count = request.param
    directory = tmp_path_factory.mktemp("rbac")
    database = f"sqlite+aiosqlite:///{directory / 'shared.db'}"
    if kind == "postgres":
        database = _created(request.getfixturevalue("postgres_server"), f"rbac_{count}")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(trusting.installed(directory / "installed")), prepend=os.pathsep)
        public, owned = (stack.enter_context(running.everything(directory)) for _ in range(2))
        tables = SHARED.format(database=database, key="k" * 43) + PLUGINS + running.upstream_table("public", public)
        tables += OWNED.format(url=owned) + SERVER.format(name="public") + SERVER.format(name="theirs") + BOTH
        nodes = tuple(stack.enter_context(running.gateway(_folder(directory, each), tables)) for each in range(count))
        found = Cluster(nodes, fronts.admin_token(nodes[0]))
        _people(found)
        yield found


def _created(server: Postgres, name: str) -> str:
    execute(server, f"create database {name}")
    return server.url(name)


def _folder(directory: Path, number: int) -> Path:
    made = directory / f"node{number}"
    made.mkdir()
    return made


def _people(cluster: Cluster) -> None:
    for name in ("fred", "max", "root"):
        assert cluster.api("POST", "/users", {"name": name, "admin": name == "root"}).status == 201
    assert cluster.api("POST", "/teams", {"name": "ops", "members": {"user:max": "member"}}).status == 201
    eventually_now(lambda: {"public__echo", "theirs__echo"} <= cluster.names("max"))


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    """Every test begins without bindings."""
    yield
    for each in json.loads(cluster.api("GET", "/bindings").body)["items"]:
        cluster.api("DELETE", f"/bindings/{each['name']}")
    eventually_now(lambda: "public__echo" in cluster.names("fred"))


def test_a_real_client_sees_and_calls_what_is_for_its_user(cluster: Cluster) -> None:
    seen = {who: asyncio.run(_visit(cluster, who)) for who in ("fred", "max")}

    assert not any(name.startswith("theirs__") for name in seen["fred"][0])
    assert {"public__echo", "theirs__echo"} <= seen["max"][0]
    assert seen["fred"][1:] == ("-32602", "-32602")
    assert json.loads(seen["max"][1]) == {"a": 1}


async def _visit(cluster: Cluster, who: str) -> tuple[set[str], str, str]:
    """The tools, the answer of one that belongs to the team, and what became of reading its resource."""
    async with httpx2.AsyncClient(headers=trusting.bearer(who)) as http:
        transport = streamable_http_client(cluster.url("both"), http_client=http)
        async with Client(transport) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            uri = next(str(each.uri) for each in (await client.list_resources()).resources)
            try:
                result = await client.call_tool("theirs__echo", {"a": 1})
                await client.read_resource(uri)
            except MCPError as error:
                code = str(error.error.code)
                return tools, code, code
            return tools, str(getattr(result.content[0], "text", "")), "done"


def test_what_belongs_to_a_team_changes_nothing_on_servers_that_do_not_name_it(cluster: Cluster) -> None:
    for who in ("fred", "max", "root"):
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            assert cluster.names(who, method, "all") == cluster.names(who, method, "public") != set()
        assert "result" in cluster.as_(who, "all").request("resources/read", {"uri": WATCHED}).reply
        assert cluster.as_(who, "all").call("theirs__echo").code == -32602
    assert cluster.names("max", "resources/list") > {f"toolway://theirs/{quote(WATCHED, safe='')}"}


def test_a_server_tells_nobody_of_capabilities_that_they_may_not_use(cluster: Cluster) -> None:
    def offered(who: str) -> set[str]:
        return set(cluster.as_(who).request("server/discover").result["capabilities"])

    assert offered("fred") >= {"tools", "prompts", "resources", "completions"}
    cluster.bind("no-prompts", "user:fred", "prompts:get:*", effect="deny")
    eventually_now(lambda: not cluster.names("fred", "prompts/list"))
    assert offered("max") - offered("fred") == {"prompts"}
    cluster.bind("no-resources", "user:fred", "resources:read:*", effect="deny")
    eventually_now(lambda: not cluster.names("fred", "resources/list"))
    assert offered("max") - offered("fred") == {"prompts", "resources", "completions"}


def test_lists_reads_calls_completions_subscriptions_and_the_api_answer_alike(cluster: Cluster) -> None:
    for who, shown in (("fred", False), ("max", True)):
        cluster.bind("viewer", f"user:{who}", "viewer")
        client = cluster.as_(who, "theirs")
        found = {
            "tools": "theirs__echo" in cluster.names(who, server="theirs"),
            "prompts": "theirs__test_prompt_with_arguments" in cluster.names(who, "prompts/list", "theirs"),
            "resources": WATCHED in cluster.names(who, "resources/list", "theirs"),
            "templates": bool(cluster.names(who, "resources/templates/list", "theirs")),
            "call": "result" in client.call("theirs__echo").reply,
            "get": "result" in client.request("prompts/get", {"name": "theirs__test_simple_prompt"}).reply,
            "read": "result" in client.request("resources/read", {"uri": WATCHED}).reply,
            "complete": bool(_completed(client)),
            "subscribe": _is_subscribed(client),
            "api upstream": cluster.api("GET", "/upstreams/theirs", who=who).status == 200,
            "api upstreams": b'"theirs"' in cluster.api("GET", "/upstreams", who=who).body,
            "api items": b'"theirs/echo"' in cluster.api("GET", "/items?limit=500", who=who).body,
            "api items of a server": b'"theirs/echo"' in cluster.api("GET", "/items?server=theirs", who=who).body,
        }

        assert found == dict.fromkeys(found, shown), who


def _completed(client: wire.ModernClient) -> list[str]:
    ref = {"type": "ref/prompt", "name": "theirs__test_prompt_with_arguments"}
    reply = client.request("completion/complete", {"ref": ref, "argument": {"name": "arg1", "value": "par"}}).reply
    return list(reply["result"]["completion"]["values"]) if "result" in reply else []


def _is_subscribed(client: wire.ModernClient) -> bool:
    stream = client.begin("subscriptions/listen", {"notifications": {"resourceSubscriptions": [WATCHED]}}, "listening")
    with stream:
        acknowledged = stream.request("notifications/subscriptions/acknowledged")
        return WATCHED in acknowledged["params"]["notifications"].get("resourceSubscriptions", [])


def test_a_server_that_is_denied_looks_like_one_that_does_not_exist(cluster: Cluster) -> None:
    cluster.bind("deny", "user:fred", "servers:connect:public", effect="deny")

    eventually_now(lambda: not cluster.names("fred", server="public"))

    hidden, absent = (cluster.as_("fred", name).request("tools/list") for name in ("public", "nothing"))
    assert hidden.status == absent.status == 404
    assert _seen(hidden, "public") == _seen(absent, "nothing")
    assert cluster.names("max", server="public")


def _seen(answer: wire.Answer, name: str) -> Any:
    reply = answer.reply
    reply["error"]["data"].pop("errorId", None)
    return json.dumps(reply).replace(name, "…")


def test_a_binding_that_is_removed_acts_on_every_node_within_a_second(cluster: Cluster) -> None:
    cluster.bind("deny", "*", "tools:call:*", effect="deny")
    cluster.bind("root", "user:fred", "admin")
    eventually_now(lambda: "theirs__echo" in cluster.names("fred"))

    cluster.api("DELETE", "/bindings/root")

    eventually_now(lambda: not cluster.names("fred"), REVOKED_WITHIN)
    assert cluster.as_("fred").call("public__echo").code == -32602


def test_an_open_stream_hears_that_a_binding_ended_and_gets_nothing_more(cluster: Cluster) -> None:
    cluster.bind("deny", "user:fred", "resources:read:*", effect="deny", expires_at=time.time() + 3600)
    cluster.bind("deny", "user:fred", "prompts:get:*", effect="deny")
    eventually_now(lambda: not cluster.names("fred", "prompts/list"))
    with cluster.as_("fred").listen(toolsListChanged=True) as stream:
        cluster.bind("off", "user:fred", "tools:call:public/*", effect="deny", expires_at=time.time() + 1.5)
        stream.request("notifications/tools/list_changed")
        stream.messages.clear()

        stream.request("notifications/tools/list_changed")

    assert "public__echo" in cluster.names("fred")


def test_the_owner_of_a_credential_is_told_why(cluster: Cluster) -> None:
    cluster.bind("deny", "user:fred", "tools:call:public/echo", effect="deny")
    question = "/rbac/explain?user={user}&action={action}&resource={resource}"

    def ask(user: str, action: str, resource: str, who: str = "") -> Any:
        path = question.format(user=user, action=action, resource=quote(resource, safe=""))
        return json.loads(cluster.api("GET", path, who=who).body)

    denied = ask("user:fred", "tools:call", "public/echo")
    assert (denied["allowed"], [each["binding"] for each in denied["denied_by"]]) == (False, ["deny"])
    allowed = ask("user:fred", "tools:call", "public/add")
    assert (allowed["allowed"], allowed["allowed_by"][0]["role"]) == (True, "caller")
    assert ask("user:max", "upstreams:write", "theirs")["reason"] == "it belongs to team:ops"
    assert ask("user:root", "upstreams:write", "theirs")["allowed"]
    assert not ask("anonymous", "servers:connect", "public")["allowed"]
    hidden, absent = ask("", "tools:call", "theirs/echo", "fred"), ask("", "tools:call", "theirs/none", "fred")
    assert hidden == absent | {"resource": "theirs/echo"}
    assert ask("user:max", "tools:call", "public/echo", "fred")["code"] == "forbidden"


def test_roles_and_bindings_by_command(cluster: Cluster) -> None:
    def toolway(*arguments: str) -> Any:
        """What a command prints, as JSON."""
        environment = {**os.environ, "TOOLWAY_URL": cluster.nodes[0].url, "TOOLWAY_TOKEN": cluster.token}
        command = [str(Path(sys.executable).with_name("toolway")), "--json", "rbac", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    toolway("role", "echoer", "tools:call:*/echo", "--description", "May echo.")
    toolway("grant", "fred", "tools:call:*", "--deny", "--for", "8h")
    toolway("grant", "team:ops", "echoer", "--team-role", "member")

    assert "echoer" in [each["name"] for each in toolway("roles")]
    assert [each["role"] for each in toolway("bindings", "--of", "team:ops")] == ["echoer"]
    (denial,) = toolway("bindings", "--of", "fred")
    assert time.time() + 8 * 3600 - 60 < denial["expires_at"] < time.time() + 8 * 3600 + 60
    assert toolway("explain", "fred", "tools:call", "public/echo")["denied_by"][0]["binding"] == denial["name"]
    toolway("revoke", denial["name"])
    toolway("revoke", "team-ops-echoer")
    toolway("remove-role", "echoer")
    assert toolway("explain", "fred", "tools:call", "public/echo")["allowed"]
