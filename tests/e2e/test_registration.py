"""Upstreams and servers come and go at run time, by the API and by the command line."""

import base64
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fronts
import pytest
import running
import wire

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port

TOOLWAY = str(Path(sys.executable).with_name("toolway"))
SECRET = "sk-canary-5d41402abc4b2a76b9719d911017c592"
FAILED, WRONG_USE, UNREACHABLE, REFUSED, NOT_FOUND, CONFLICT = 1, 2, 3, 4, 5, 6
HIDDEN = "sealed:hidden"
GATEWAY = 'api_references = ["env"]\n\n'  # what follows in the table [gateway]
FILED = '[[upstreams]]\nname = "filed"\nkind = "http"\nendpoints = ["{url}"]\nallow_private = true\n\n'


@dataclass(frozen=True)
class Managed:
    """A gateway that has nothing but one upstream from its file, and who may change that."""

    gate: running.Gateway
    token: str
    everything: str
    raw: str
    home: Path

    def api(self, method: str, path: str, body: Any = None, token: str | None = None) -> wire.Answer:
        """One request to `/api/v1`."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token or self.token}"}
        content = None if body is None else wire.encode(body)
        return wire.send(f"{self.gate.url}/api/v1{path}", method, content, headers)

    def read(self, path: str) -> Any:
        return json.loads(self.api("GET", path).body)

    @property
    def environment(self) -> dict[str, str]:
        """Of a person who has the token in it, and a wide terminal."""
        mine = {"TOOLWAY_URL": self.gate.url, "TOOLWAY_TOKEN": self.token, "XDG_CONFIG_HOME": str(self.home)}
        return {**os.environ, **mine, "COLUMNS": "200", "TERM": "xterm"}

    def run(self, *arguments: str, token: str | None = None, url: str | None = None) -> "Ran":
        """`toolway` with these arguments, as a person runs it who has the token in the environment."""
        environment = {
            **self.environment,
            "TOOLWAY_URL": url or self.gate.url,
            "TOOLWAY_TOKEN": self.token if token is None else token,
        }
        done = subprocess.run(
            [TOOLWAY, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" not in done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def tools(self) -> set[str]:
        """What the server `all` shows."""
        return {
            tool["name"] for tool in wire.ModernClient(f"{self.gate.url}/mcp").request("tools/list").result["tools"]
        }

    def upstream(self, name: str, url: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "kind": "http", "endpoints": [url], "allow_private": True, **more}

    def everything_written(self) -> bytes:
        """The log and every file of the data directory."""
        data = [file.read_bytes() for file in (self.gate.log.parent / "data").rglob("*") if file.is_file()]
        return b"".join([self.gate.log.read_bytes(), *data])


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    directory = tmp_path_factory.mktemp("managed")
    with ExitStack() as stack:
        everything = stack.enter_context(running.everything(directory))
        raw = stack.enter_context(running.raw_upstream(directory))
        gate = stack.enter_context(running.gateway(directory, GATEWAY + FILED.format(url=raw)))
        yield Managed(gate, fronts.admin_token(gate), everything, raw, directory / "home")


@pytest.fixture(autouse=True)
def clean(managed: Managed) -> Iterator[None]:
    """Every test begins with what the file declares."""
    yield
    for collection in ("servers", "upstreams"):
        for each in managed.read(f"/{collection}")["items"]:
            if each["meta"]["managed_by"] == "api":
                managed.api("DELETE", f"/{collection}/{each['name']}")


def problem(answer: wire.Answer) -> tuple[int, str]:
    """Status and code of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status, json.loads(answer.body)["code"]


# ---------------------------------------------------------------------------------------- by the API


def test_an_upstream_that_is_added_is_served_at_once(managed: Managed) -> None:
    created = managed.api("POST", "/upstreams", managed.upstream("added", managed.everything))

    assert created.status == 201
    eventually_now(lambda: "added__echo" in managed.tools())
    answer = wire.ModernClient(f"{managed.gate.url}/mcp").call("added__echo", {"a": 1})
    assert json.loads(answer.text) == {"a": 1}


def test_refreshing_waits_for_what_the_upstream_offers(managed: Managed) -> None:
    managed.api("POST", "/upstreams", managed.upstream("added", managed.everything))

    state = json.loads(managed.api("POST", "/upstreams/added/refresh").body)

    assert (state["status"], state["error"], state["items"] > 40) == ("up", "", True)
    assert state["eras"] == {"modern": wire.MODERN, "legacy": wire.LEGACY}
    assert "added__echo" in managed.tools()


def test_an_upstream_that_is_removed_is_gone_with_its_items(managed: Managed) -> None:
    managed.api("POST", "/upstreams", managed.upstream("added", managed.everything))
    managed.api("POST", "/upstreams/added/refresh")

    assert managed.api("DELETE", "/upstreams/added").status == 204

    assert not any(name.startswith("added__") for name in managed.tools())
    assert wire.ModernClient(f"{managed.gate.url}/mcp").call("added__echo").code == -32602
    assert problem(managed.api("GET", "/upstreams/added")) == (404, "not_found")


def test_an_upstream_that_moves_is_reached_at_its_new_address(managed: Managed) -> None:
    managed.api("POST", "/upstreams", managed.upstream("moving", managed.everything))
    managed.api("POST", "/upstreams/moving/refresh")

    replaced = managed.api("PUT", "/upstreams/moving", managed.upstream("moving", managed.raw))

    assert replaced.status == 200
    eventually_now(lambda: {"moving__echo_raw"} <= managed.tools() and "moving__echo" not in managed.tools())


def test_an_upstream_that_is_down_is_kept_and_says_why(managed: Managed) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"

    created = managed.api("POST", "/upstreams", managed.upstream("down", url))
    refreshed = managed.api("POST", "/upstreams/down/refresh")

    assert created.status == 201
    assert "comes in when it is up" in json.loads(created.body)["meta"]["note"]
    assert problem(refreshed) == (502, "upstream_unreachable")
    state = managed.read("/upstreams/down")["meta"]
    assert (state["status"], bool(state["error"]), state["items"]) == ("down", True, 0)
    assert managed.read("/health")["upstreams"]["down"] == 1


@pytest.mark.slow
def test_an_upstream_that_is_down_at_the_start_comes_in_when_it_is_up(tmp_path: Path) -> None:
    port = free_port()
    tables = running.upstream_table("late", f"http://127.0.0.1:{port}/mcp") + running.server_table("late/*")
    with running.gateway(tmp_path, tables) as gate:
        assert running.list_tools(gate.endpoint) == []
        with running.raw_upstream(tmp_path, "--port", str(port)):
            running.wait_for_tool(gate, "echo_raw")

            assert wire.ModernClient(gate.endpoint).call("echo_raw").status == 200


@pytest.mark.slow
def test_items_of_an_upstream_that_went_away_stay_listed_and_its_calls_fail_clearly(tmp_path: Path) -> None:
    with ExitStack() as upstream, ExitStack() as stack:
        url = upstream.enter_context(running.everything(tmp_path))
        tables = running.upstream_table("leaving", url) + running.server_table("leaving/*")
        gate = stack.enter_context(running.gateway(tmp_path, tables))
        running.wait_for_tool(gate, "echo")

        upstream.close()

        answer = wire.ModernClient(gate.endpoint).call("echo", request_id=3)
        assert (answer.status, answer.reply["id"]) == (200, 3)
        assert answer.reply["error"]["data"]["code"] == "upstream_unreachable"
        assert "Errno" not in answer.reply["error"]["message"]
        assert "echo" in running.list_tools(gate.endpoint)


def test_an_upstream_on_a_private_address_is_not_dialled_unless_that_is_allowed(managed: Managed) -> None:
    body = managed.upstream("inside", managed.everything, allow_private=False)
    managed.api("POST", "/upstreams", body)

    refreshed = managed.api("POST", "/upstreams/inside/refresh")

    assert refreshed.status == 400
    state = managed.read("/upstreams/inside")["meta"]
    assert (state["status"], "allow_private" in state["error"]) == ("down", True)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_command_is_never_taken_from_the_api(managed: Managed, method: str, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = {"name": "evil", "kind": "stdio", "command": ["touch", str(witness)]}

    answer = managed.api(method, "/upstreams" if method == "POST" else "/upstreams/evil", body)

    assert problem(answer) == (400, "invalid_input")
    assert "configuration file" in json.loads(answer.body)["detail"]
    assert managed.api("GET", "/upstreams/evil").status == 404
    assert not witness.exists()


def test_what_the_file_declares_is_shown_and_not_changed(managed: Managed) -> None:
    answers = [
        managed.api("PUT", "/upstreams/filed", managed.upstream("filed", managed.everything)),
        managed.api("POST", "/upstreams", managed.upstream("filed", managed.everything)),
        managed.api("DELETE", "/upstreams/filed"),
    ]

    assert [problem(answer) for answer in answers] == [(409, "conflict")] * 3
    assert managed.read("/upstreams/filed")["meta"]["managed_by"] == "file"


def test_a_name_is_given_once(managed: Managed) -> None:
    body = managed.upstream("added", managed.everything)

    statuses = [managed.api("POST", "/upstreams", body).status for _ in range(2)]

    assert statuses == [201, 409]


@pytest.mark.parametrize("name", ["", "UPPER", "a/b", "-a", "a" * 49, "ä", "a b", "../a", 7, None])
def test_a_name_that_could_be_mistaken_is_refused(managed: Managed, name: Any) -> None:
    answer = managed.api("POST", "/upstreams", {**managed.upstream("x", managed.everything), "name": name})

    assert problem(answer) == (400, "invalid_input")


def test_nobody_without_a_token_sees_or_changes_anything(managed: Managed) -> None:
    answers = [
        wire.send(f"{managed.gate.url}/api/v1{path}", method, body, {"Content-Type": "application/json"})
        for method, path, body in (
            ("GET", "/upstreams", None),
            ("GET", "/items", None),
            ("GET", "/health", None),
            ("POST", "/upstreams", wire.encode(managed.upstream("x", managed.raw))),
            ("DELETE", "/upstreams/filed", None),
            ("POST", "/upstreams/filed/refresh", b""),
        )
    ]

    assert [answer.status for answer in answers] == [401] * len(answers)
    assert managed.api("GET", "/upstreams", token="twa_wrong").status == 401


def test_a_tool_that_appears_at_an_upstream_appears_here(managed: Managed) -> None:
    managed.api("POST", "/upstreams", managed.upstream("added", managed.everything))
    managed.api("POST", "/upstreams/added/refresh")
    client = wire.ModernClient(f"{managed.gate.url}/mcp")

    client.call("added__add_tool")
    eventually_now(lambda: "added__added_tool" in managed.tools())
    client.call("added__remove_tool")

    eventually_now(lambda: "added__added_tool" not in managed.tools())


# ---------------------------------------------------------------------------------------- credentials


AUTHS: list[dict[str, Any]] = [
    {"auth": {"type": "bearer", "token": SECRET}},
    {"auth": {"type": "basic", "username": "me", "password": SECRET}},
    {"auth": {"type": "header", "name": "X-Key", "value": SECRET}},
    {"headers": {"X-Key": SECRET}},
]


@pytest.mark.parametrize("credential", AUTHS, ids=["bearer", "basic", "header", "headers"])
def test_a_credential_sent_as_a_value_reaches_the_upstream_and_is_never_read_back(
    managed: Managed, credential: dict[str, Any]
) -> None:
    base = managed.raw.removesuffix("/mcp")
    wire.send(f"{base}/_requests", "DELETE")

    created = managed.api("POST", "/upstreams", managed.upstream("secretive", managed.raw, **credential))
    refreshed = managed.api("POST", "/upstreams/secretive/refresh")

    shown = [created, refreshed, managed.api("GET", "/upstreams/secretive"), managed.api("GET", "/upstreams")]
    assert created.status == 201
    assert not any(SECRET.encode() in answer.body for answer in shown)
    assert HIDDEN.encode() in created.body
    assert _received_secret(wire.send(f"{base}/_requests").body)
    assert SECRET.encode() not in managed.everything_written()


def test_a_hidden_credential_sent_again_is_kept(managed: Managed) -> None:
    body = managed.upstream("secretive", managed.raw, auth={"type": "bearer", "token": SECRET})
    managed.api("POST", "/upstreams", body)
    read = managed.read("/upstreams/secretive")

    assert managed.api("PUT", "/upstreams/secretive", {**read, "description": "changed"}).status == 200

    base = managed.raw.removesuffix("/mcp")
    wire.send(f"{base}/_requests", "DELETE")
    managed.api("POST", "/upstreams/secretive/refresh")
    assert _received_secret(wire.send(f"{base}/_requests").body)


def test_a_reference_is_shown_as_it_is(managed: Managed) -> None:
    auth = {"type": "bearer", "token": "env:TOOLWAY_NO_SUCH_VARIABLE"}
    managed.api("POST", "/upstreams", managed.upstream("referring", managed.raw, auth=auth))

    refreshed = managed.api("POST", "/upstreams/referring/refresh")

    assert problem(refreshed) == (503, "secret_unavailable")
    shown = managed.read("/upstreams/referring")
    assert shown["auth"]["token"] == "env:TOOLWAY_NO_SUCH_VARIABLE"
    assert (shown["meta"]["status"], "TOOLWAY_NO_SUCH_VARIABLE" in shown["meta"]["error"]) == ("down", True)


def test_a_reference_to_a_file_of_the_host_is_refused(managed: Managed) -> None:
    auth = {"type": "bearer", "token": "file:/etc/hostname"}

    answer = managed.api("POST", "/upstreams", managed.upstream("nosy", managed.raw, auth=auth))

    assert problem(answer) == (400, "invalid_input")
    assert managed.api("GET", "/upstreams/nosy").status == 404


def test_a_refused_definition_does_not_repeat_its_credential(managed: Managed) -> None:
    body = managed.upstream("bad", "ftp://nowhere", auth={"type": "bearer", "token": SECRET, "tokn": SECRET})

    answer = managed.api("POST", "/upstreams", body)

    assert problem(answer) == (400, "invalid_input")
    assert SECRET.encode() not in answer.body + managed.everything_written()


# ---------------------------------------------------------------------------------------- by the command line


@pytest.fixture
def added(managed: Managed) -> Ran:
    return managed.run("upstreams", "add", "added", managed.everything, "--allow-private")


def test_an_upstream_added_by_a_command_is_discovered_when_the_command_ends(managed: Managed, added: Ran) -> None:
    assert added.code == 0
    assert re.search(r"added offers [0-9]{2,} items", added.err)
    assert "added__echo" in managed.tools()


def test_adding_an_upstream_that_is_down_succeeds_and_says_when_it_comes_in(managed: Managed) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"

    ran = managed.run("upstreams", "add", "later", url, "--allow-private")

    assert (ran.code, ran.out) == (0, "")
    assert "upstream later is registered, but down (no connection to upstream" in ran.err


def test_commands_list_refresh_and_remove_upstreams(managed: Managed, added: Ran) -> None:
    listed = managed.run("upstreams", "list")
    refreshed = managed.run("upstreams", "refresh", "added", "--json")
    removed = managed.run("upstreams", "remove", "added")

    assert [ran.code for ran in (listed, refreshed, removed)] == [0, 0, 0]
    assert {"added", "filed", "up"} <= set(listed.out.split())
    assert refreshed.json["status"] == "up"
    assert [each["name"] for each in managed.run("upstreams", "list", "--json").json] == ["filed"]


def test_commands_make_a_server_and_use_it_as_a_client_would(managed: Managed, added: Ran) -> None:
    made = managed.run("servers", "add", "own", "--include", "added/*", "--naming", "plain", "--access", "public")
    called = managed.run("call", "echo", "--server", "own", "--arg", "number=7", "--arg", "text=grüße")
    read = managed.run("read", "test://static-text", "--server", "own")
    prompted = managed.run("prompt", "test_prompt_with_arguments", "--server", "own", "-a", "arg1=1", "-a", "arg2=2")

    assert [ran.code for ran in (made, called, read, prompted)] == [0, 0, 0, 0]
    assert f"{managed.gate.url}/servers/own/mcp" in made.err
    assert json.loads(called.out) == {"number": 7, "text": "grüße"}
    assert read.out == "This is the content of the static text resource.\n"
    assert prompted.out == "user: Prompt with arguments: arg1='1', arg2='2'\n"


def test_a_call_mirrors_the_arguments_that_its_tool_wants_in_headers(managed: Managed, added: Ran) -> None:
    called = managed.run("call", "added__test_x_mcp_header", "region=grüße", "count=42")

    assert (called.code, called.out) == (0, "region=grüße count=42\n"), called.err


def test_a_command_lists_items_by_canonical_name(managed: Managed, added: Ran) -> None:
    items = managed.run("items", "list", "--upstream", "added", "--kind", "tool", "--json").json

    assert {each["canonical"] for each in items} >= {"added/echo", "added/slow"}
    assert {each["kind"] for each in items} == {"tool"}


def test_collisions_are_told_by_the_command_that_makes_them(managed: Managed, added: Ran) -> None:
    managed.run("upstreams", "add", "other", managed.everything, "--allow-private")

    made = managed.run("servers", "add", "both", "--include", "added/echo", "--include", "other/echo", "--naming=plain")
    report = managed.run("servers", "collisions", "both")

    assert all("added/echo against other/echo" in ran.out for ran in (made, report))


def test_an_upstream_can_be_added_from_a_file(managed: Managed, tmp_path: Path) -> None:
    file = tmp_path / "upstream.json"
    file.write_text(json.dumps({"kind": "http", "endpoints": [managed.raw], "allow_private": True}))

    assert managed.run("upstreams", "add", "from-file", "--file", str(file)).code == 0
    assert "from-file__echo_raw" in managed.tools()


def test_a_bearer_token_is_named_by_reference_on_the_command_line(managed: Managed) -> None:
    managed.run("upstreams", "add", "added", managed.raw, "--allow-private", "--bearer", "env:PATH")

    assert managed.run("upstreams", "get", "added", "--json").json["auth"] == {"type": "bearer", "token": "env:PATH"}


@pytest.mark.parametrize(
    ("arguments", "shown", "printed"),
    [
        (["call", "added__test_tool_with_progress"], "Completed step", r"tw-\d+\n"),
        (["upstreams", "refresh", "added"], "discovering added", ""),
    ],
)
def test_progress_is_shown_to_a_person_and_not_to_a_script(
    managed: Managed, added: Ran, arguments: list[str], shown: str, printed: str
) -> None:
    for_person, output = watched(managed, *arguments)
    for_script = managed.run(*arguments)

    assert shown in for_person
    assert re.fullmatch(printed, output)
    assert re.fullmatch(printed, for_script.out)
    assert shown not in for_script.err


def watched(managed: Managed, *arguments: str) -> tuple[str, str]:
    """What a person sees on a terminal while the command runs, and what it prints."""
    terminal, inner = pty.openpty()
    with subprocess.Popen([TOOLWAY, *arguments], env=managed.environment, stdout=subprocess.PIPE, stderr=inner) as ran:
        os.close(inner)
        seen = b""
        with suppress(OSError):  # the other side is closed
            while piece := os.read(terminal, 65536):
                seen += piece
        output, _ = ran.communicate(timeout=60)
    os.close(terminal)
    return seen.decode(errors="replace"), output.decode()


def test_a_tool_that_fails_fails_the_command(managed: Managed, added: Ran) -> None:
    ran = managed.run("call", "added__test_error_handling")

    assert (ran.code, ran.out) == (FAILED, "This tool intentionally returns an error for testing\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("upstreams", "get", "nobody"), NOT_FOUND),
        (("upstreams", "remove", "nobody"), NOT_FOUND),
        (("upstreams", "refresh", "nobody"), NOT_FOUND),
        (("upstreams", "remove", "filed"), CONFLICT),
        (("upstreams", "add", "BAD", "http://127.0.0.1:1/mcp"), FAILED),
        (("upstreams", "add"), WRONG_USE),
        (("call", "no-such-tool"), FAILED),
        (("call", "filed__echo_raw", "--arg", "no-equals-sign"), WRONG_USE),
        (("call", "filed__echo_raw", "--args-json", "{no json"), WRONG_USE),
        (("call", "filed__echo_raw", "--server", "no-such-server"), NOT_FOUND),
        (("read", "toolway://nobody/test"), FAILED),
        (("servers", "get", "nobody"), NOT_FOUND),
    ],
)
def test_a_command_that_fails_says_why_in_one_line_and_by_its_code(
    managed: Managed, arguments: tuple[str, ...], code: int
) -> None:
    ran = managed.run(*arguments)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err.strip()


def test_a_command_without_a_good_token_is_refused(managed: Managed) -> None:
    ran = managed.run("upstreams", "list", token="twa_wrong")

    assert ran.code == REFUSED
    assert "twa_wrong" not in ran.err


def test_a_command_without_a_gateway_says_how_to_start_one(managed: Managed) -> None:
    ran = managed.run("upstreams", "list", url=f"http://127.0.0.1:{free_port()}")

    assert ran.code == UNREACHABLE
    assert "toolway serve" in ran.err


def test_a_login_is_remembered(managed: Managed) -> None:
    saved = managed.run("login", "--url", managed.gate.url, "--token", managed.token, token="")

    profile = managed.home / "toolway" / "profiles.json"
    assert saved.code == 0
    assert profile.stat().st_mode & 0o777 == 0o600
    assert managed.run("upstreams", "list", token="").code == 0
    profile.unlink()
    assert managed.run("upstreams", "list", token="").code == REFUSED


def test_a_login_with_a_wrong_token_is_not_remembered(managed: Managed) -> None:
    ran = managed.run("login", "--url", managed.gate.url, "--token", "twa_wrong", token="")

    assert ran.code == REFUSED
    assert not (managed.home / "toolway" / "profiles.json").exists()


def test_nothing_of_all_this_was_unexpected(managed: Managed) -> None:
    assert fronts.complaints(managed.gate) == []


def _received_secret(journal: bytes) -> bool:
    """Whether the upstream got the secret in a header, in the clear or in basic authentication."""
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    return any(SECRET in value or basic in value for each in json.loads(journal) for value in each["headers"].values())
