"""The commands against a running gateway with the bundled demo server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

TOOLWAY = Path(sys.executable).with_name("toolway")


@dataclass
class Ran:
    """How a command ended."""

    code: int | None
    out: str
    err: str


Run = Callable[..., Awaitable[Ran]]


@pytest_asyncio.fixture
async def demo(gateway: StartGateway) -> RunningGateway:
    gate = await gateway(demo=True)
    await eventually(lambda: gate.gateway.plane.catalog.snapshot.upstreams["demo"].status == "up")
    return gate


@pytest.fixture
def run(demo: RunningGateway, tmp_path: Path) -> Run:
    """`toolway` with these arguments, as somebody runs it who has the token in the environment."""

    async def toolway(*arguments: str, **variables: str) -> Ran:
        environ = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "200"}
        environ |= {"TOOLWAY_URL": demo.url, "TOOLWAY_TOKEN": demo.token, **variables}
        streams = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(TOOLWAY, *arguments, env=environ, **streams)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        return Ran(process.returncode, out.decode(), err.decode())

    return toolway


async def table(run: Run, *arguments: str) -> dict[str, list[str]]:
    """The cells of a printed table by the first cell of their row."""
    rows = [re.split(r"  +", line.strip()) for line in (await run(*arguments)).out.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


async def test_an_upstream_is_added_listed_with_its_state_and_removed(demo: RunningGateway, run: Run) -> None:
    added = await run("upstreams", "add", "again", f"{demo.url}/mcp", "--allow-private")
    assert (added.code, added.out) == (0, "")
    assert added.err.startswith("upstream again offers ")

    shown = await table(run, "upstreams", "list")
    assert shown["name"] == ["kind", "status", "items", "endpoints", "command", "managed by"]
    assert shown["again"][:2] == ["http", "up"]
    assert shown["demo"][3] == "-"
    assert shown["again"][-1] == "api"
    assert int(shown["again"][2]) > 0
    assert (await run("upstreams", "remove", "again")).err == "upstream again removed\n"


async def test_an_upstream_that_is_down_is_added_and_its_error_shown(run: Run) -> None:
    added = await run("upstreams", "add", "gone", "http://127.0.0.1:1/mcp", "--allow-private")
    assert (added.code, added.out) == (0, "")
    assert added.err.startswith("upstream gone is registered, but down (no connection")

    shown = await table(run, "upstreams", "list")
    assert dict(zip(shown["name"], shown["gone"], strict=True))["status"] == "down"
    assert "no connection" in dict(zip(shown["name"], shown["gone"], strict=True))["error"]


async def test_a_bearer_token_is_given_itself_and_not_as_a_reference_to_the_gateways_host(run: Run) -> None:
    add = ("upstreams", "add", "gone", "http://127.0.0.1:1/mcp", "--allow-private", "--bearer")

    refused = await run(*add, "env:HOME")
    added = await run(*add, "sk-canary")

    assert (refused.code, added.code) == (1, 0)
    assert "itself, which is stored encrypted" in refused.err
    assert "sk-canary" not in (await run("upstreams", "get", "gone")).out
    described = " ".join((await run("upstreams", "add", "--help")).out.split())
    assert "The bearer token (stored encrypted) or a reference of a scheme that the API takes." in described


async def test_the_table_of_servers_shows_paths_and_collisions(run: Run) -> None:
    made = await run("servers", "add", "few", "--include", "demo/a*", "--access", "public")
    assert made.err.splitlines()[0].endswith("/servers/few/mcp")

    shown = await table(run, "servers", "list")
    few = dict(zip(shown["name"], shown["few"], strict=True))
    assert (few["path"], few["access"], few["collisions"]) == ("/servers/few/mcp", "public", "0")


async def test_what_exists_already_is_replaced_only_on_request(run: Run) -> None:
    add = ("servers", "add", "few", "--include", "demo/a*")
    assert (await run(*add)).code == 0

    again = await run(*add)

    assert (again.code, again.err) == (6, "toolway: servers has 'few' already; replace it with --replace\n")
    assert (await run(*add, "--replace")).code == 0


async def test_a_name_that_was_given_once_is_not_said_to_be_there(run: Run) -> None:
    assert (await run("users", "add", "gone")).code == 0
    assert (await run("users", "remove", "gone")).code == 0

    again = await run("users", "add", "gone")

    complaint = "toolway: 'user:gone' was removed, and names are never given twice; choose another name\n"
    assert (again.code, again.err) == (6, complaint)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["call", "demo__add", "a=1"], 1, "the arguments do not fit the tool's schema: 'b' is missing\n"),
        (["call", "demo__add", "a=x", "b=2"], 1, "the arguments do not fit the tool's schema: 'a' must be a number\n"),
        (["call", "demo__add", "a"], 2, "toolway: the argument 'a' must be key=value"),
        (
            ["items", "list", "--url", "http://127.0.0.1:1"],
            3,
            "toolway: http://127.0.0.1:1 does not answer (Connection r",
        ),
        (["upstreams", "list", "--token", "wrong"], 4, "toolway: the credential is not valid here"),
        (["call", "demo__add", "--server", "missing"], 5, "toolway: there is no server 'missing'"),
        (
            ["upstreams", "remove", "demo"],
            6,
            "toolway: 'demo' comes with --demo or is declared in the configuration file;",
        ),
        (
            ["servers", "remove", "all"],
            6,
            "toolway: 'all' is built in, unless the configuration file declares it; change",
        ),
        (["api", "gt", "/servers"], 2, "toolway: 'gt' is no HTTP method; use GET, POST, PUT or DELETE"),
        (["plugins", "-c", "missing.toml"], 1, "toolway: missing.toml cannot be read"),
    ],
)
async def test_the_exit_code_says_what_went_wrong(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    ran = await run(*arguments)

    assert (ran.code, (ran.out + ran.err)[: len(sentence)]) == (code, sentence)


async def test_arguments_of_a_tool_are_written_behind_its_name(run: Run) -> None:
    assert (await run("call", "demo__add", "a=1", "b=2")).out == "3\n"
    assert (await run("call", "demo__add", "--args-json", '{"a": 1, "b": 1}', "-a", "b=3")).out == "4\n"


async def test_help_is_fast_because_it_imports_nothing_large() -> None:
    program = (
        "import sys; from toolway.cli import main; sys.argv[1:] = ['-h']\ntry: main()\nfinally: print(*sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)

    imported = {name.partition(".")[0] for name in (await process.communicate())[0].decode().split("\n")[-2].split()}

    assert imported & {"aiohttp", "msgspec", "pydantic", "rich", "sqlalchemy", "starlette"} == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("toolway upstreams get ", "demo"),
        ("toolway servers remove a", "all"),
        ("toolway call demo__a", "demo__add"),
        ("toolway items list --upstream ", "demo"),
    ],
)
async def test_the_shell_completes_names(run: Run, words: str, expected: str) -> None:
    position = str(len(words.split(" ")) - 1)

    completed = await run(_TOOLWAY_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position)

    assert expected in completed.out.split()


async def test_completion_without_a_gateway_offers_nothing(run: Run) -> None:
    asked = {"_TOOLWAY_COMPLETE": "complete_bash", "COMP_WORDS": "toolway upstreams get ", "COMP_CWORD": "3"}

    completed = await run(**asked, TOOLWAY_URL="http://127.0.0.1:1")

    assert (completed.out.strip(), completed.err) == ("", "")


async def test_completion_is_installed_for_the_shell_of_the_user(run: Run, tmp_path: Path) -> None:
    installed = await run("--install-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert installed.code == 0
    assert "_TOOLWAY_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "toolway.sh").read_text()


async def test_json_may_be_asked_for_anywhere_and_has_every_member(run: Run) -> None:
    found: list[dict[str, Any]] = json.loads((await run("upstreams", "list", "--json")).out)

    assert found[0]["meta"]["status"] == "up"
