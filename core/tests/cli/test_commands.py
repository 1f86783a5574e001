"""The commands against a running gateway with the bundled demo server."""

from __future__ import annotations

import asyncio
import json
import os
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
    lines = (await run(*arguments)).out.splitlines()
    rows = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


async def test_an_upstream_is_added_listed_with_its_state_and_removed(demo: RunningGateway, run: Run) -> None:
    added = await run("upstreams", "add", "again", f"{demo.url}/mcp", "--allow-private")
    assert (added.code, added.out) == (0, "")
    assert added.err.startswith("upstream again offers ")

    shown = await table(run, "upstreams", "list")
    assert shown["name"] == ["kind", "status", "items", "endpoints", "command", "managed by"]
    assert shown["again"][:2] == ["http", "up"]
    assert shown["again"][-1] == "api"
    assert int(shown["again"][2]) > 0
    assert (await run("upstreams", "remove", "again")).err == "upstream again removed\n"


async def test_an_upstream_that_is_down_is_added_and_its_error_shown(run: Run) -> None:
    added = await run("upstreams", "add", "gone", "http://127.0.0.1:1/mcp", "--allow-private")
    assert (added.code, added.err.count("\n")) == (0, 1)
    assert added.err.startswith("upstream gone is registered, but down; ")
    assert "comes in when it is up (no connection to upstream 'gone'" in added.err

    shown = await table(run, "upstreams", "list")
    assert dict(zip(shown["name"], shown["gone"], strict=True))["status"] == "down"
    assert "no connection" in dict(zip(shown["name"], shown["gone"], strict=True))["error"]


async def test_the_table_of_servers_shows_paths_and_collisions(run: Run) -> None:
    made = await run("servers", "add", "few", "--include", "demo/a*", "--access", "public")
    assert made.err.splitlines()[0].endswith("/servers/few/mcp")

    shown = await table(run, "servers", "list")
    few = dict(zip(shown["name"], shown["few"], strict=True))
    assert (few["path"], few["access"], few["collisions"]) == ("/servers/few/mcp", "public", "0")


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
