"""Commands of plugins, from fake installed distributions."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolway_testing.gateway import StartGateway

SOURCE = """
import typer
from toolway.plugin import InvalidInput

app = typer.Typer(help="Tokens.")

@app.command("list")
def list_tokens(context: typer.Context) -> None:
    \"\"\"List them.\"\"\"
    context.obj.show("vouchers", [{"name": "a", "uses": 3}, {"name": "b", "uses": 0}], ("name", "uses"))

@app.command()
def ends(context: typer.Context) -> None:
    rows = [{"name": name, "expires_at": at} for name, at in (("a", 1796027016.2039924), ("b", None), ("c", 1e18))]
    context.obj.show("vouchers", rows, ("name", "expires_at"))

@app.command()
def upstreams(context: typer.Context) -> None:
    context.obj.print(list(context.obj.pages("/upstreams")))

@app.command()
def get(context: typer.Context) -> None:
    context.obj.print(context.obj.api("GET", "/vouchers"))

@app.command()
def fail() -> None:
    raise InvalidInput("a token needs a name")
"""

Toolway = Callable[..., int]


@pytest.fixture
def toolway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., int], install: Callable[..., None]
) -> Toolway:
    """The command, with the distribution toolway-vouchers installed; its exit code."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    modules = ("vouchers = vouchers_commands:app", "broken = vouchers_missing:app")
    install("vouchers", "1.0", "toolway.commands", *modules, "number = json:scanner", "serve = json:dumps")
    (tmp_path / "vouchers_commands.py").write_text(SOURCE)
    monkeypatch.delitem(sys.modules, "vouchers_commands", raising=False)
    return typed


def test_they_are_listed_by_what_they_say_without_being_imported(
    toolway: Toolway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toolway("--help") == 0

    _, _, ours = capsys.readouterr().out.partition("Commands of plugins:\n")
    assert re.search(r"^  vouchers +Tokens\.$", ours, re.MULTILINE)
    assert re.search(r"^  broken +Vouchers that open doors\.$", ours, re.MULTILINE)
    assert "vouchers_commands" not in sys.modules


def test_they_run_with_the_options_of_all_commands(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("vouchers", "list", "--json") == 0

    assert json.loads(capsys.readouterr().out) == [{"name": "a", "uses": 3}, {"name": "b", "uses": 0}]


def test_times_are_written_for_people_in_tables_and_as_they_are_for_scripts(
    toolway: Toolway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toolway("vouchers", "ends") == 0
    assert re.search(r"^a +2026-11-30T08:23:36Z\s*$", capsys.readouterr().out, re.MULTILINE)

    assert toolway("vouchers", "ends", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["expires_at"] == 1796027016.2039924


def test_their_help_is_that_of_the_plugin(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("vouchers", "--help") == 0

    assert "List them." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["vouchers", "upstreams", "--url", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1 does not answer"),
        (["vouchers", "fail"], 1, "a token needs a name"),
        (["broken"], 1, "the command 'broken' of toolway-vouchers cannot be imported (ModuleNotFoundError"),
        (["number"], 1, "the command 'number' of toolway-vouchers is no typer.Typer"),
    ],
)
def test_what_fails_is_said_in_one_sentence(
    toolway: Toolway, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    assert toolway(*arguments) == code

    assert capsys.readouterr().err.startswith(f"toolway: {sentence}")


async def test_a_gateway_without_the_plugin_of_a_command_is_told(
    toolway: Toolway, gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = await gateway()

    code = await asyncio.to_thread(toolway, "vouchers", "get", "--url", gate.url, "--token", gate.token)

    complaint = "the gateway has no plugin of toolway-vouchers enabled (there is no /api/v1/vouchers)"
    assert (code, capsys.readouterr().err) == (5, f"toolway: {complaint}\n")


def test_a_command_of_the_gateway_cannot_be_replaced(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("serve", "--help") == 0

    assert "Run the gateway until Ctrl-C." in capsys.readouterr().out
