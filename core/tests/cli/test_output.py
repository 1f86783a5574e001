"""What `toolway schema` and `toolway plugins` print, with plugins in every state, from fake installed distributions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

SOURCE = """
from pydantic import Field
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

class GreetSettings(Settings):
    \"\"\"How to greet.\"\"\"

    loudness: int = Field(3, ge=1, description="From 1 on.")

class Greet(Plugin[GreetSettings]):
    @hookimpl
    def toolway_policies(self, kernel: Kernel) -> list[object]:
        return []
"""

Toolway = Callable[..., int]


@pytest.fixture
def toolway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., int], install: Callable[..., None]
) -> Toolway:
    """The command, with the plugins greet, spare and torn installed; its exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toolway_greet.py").write_text(SOURCE)
    (tmp_path / "toolway_torn.py").write_text("import no_such_module\n")
    for name, module in (
        ("greet", "toolway_greet:Greet"),
        ("spare", "toolway_greet:Greet"),
        ("torn", "toolway_torn:P"),
    ):
        install(name, "1.2", "toolway.plugins", f"{name} = {module}")

    def command(*arguments: str, enable: list[str]) -> int:
        (tmp_path / "toolway.toml").write_text(f"[plugins]\nenable = {json.dumps(enable)}\n")
        return typed(*arguments)

    monkeypatch.delitem(sys.modules, "toolway_greet", raising=False)
    return command


def test_plugins_are_listed_with_their_state(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("plugins", enable=["greet", "torn", "gone"]) == 0

    rows = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    states = {row[0]: row[1:] for row in rows if len(row) > 4}
    assert states["name"] == ["state", "distribution", "version", "hooks", "error"]
    assert states["greet"] == ["enabled", "toolway-greet", "1.2", "toolway_policies", "-"]
    assert states["spare"] == ["installed", "toolway-spare", "1.2", "-", "-"]
    assert states["torn"][:4] == ["broken", "toolway-torn", "1.2", "-"]
    assert "no_such_module" in states["torn"][4]
    assert states["gone"][0] == "broken"
    assert "install its package" in states["gone"][-1]


def test_plugins_are_listed_for_scripts(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("plugins", "--json", enable=["greet", "torn"]) == 0

    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {name: listed[name]["state"] for name in ("greet", "spare", "torn")} == {
        "greet": "enabled",
        "spare": "installed",
        "torn": "broken",
    }
    assert (listed["greet"]["hooks"], listed["greet"]["error"]) == (["toolway_policies"], "")


def test_only_enabled_plugins_are_imported(toolway: Toolway) -> None:
    toolway("plugins", enable=[])

    assert "toolway_greet" not in sys.modules


@pytest.mark.parametrize(
    ("configuration", "is_good"),
    [
        ({}, True),
        ({"plugins": {"enable": ["greet"], "greet": {"loudness": 5}}}, True),
        ({"plugins": {"greet": {"loudness": 0}}}, False),
        ({"plugins": {"greet": {"loudnes": 5}}}, False),
        ({"gateway": {"bnd": "127.0.0.1:0"}}, False),
        ({"upstreams": [{"name": "a", "kind": "http", "endpoints": ["https://a.example/mcp"]}]}, True),
        ({"upstreams": [{"name": "a", "kind": "http", "endpoints": []}]}, False),
    ],
)
def test_the_schema_knows_what_a_configuration_may_hold(
    toolway: Toolway, capsys: pytest.CaptureFixture[str], configuration: dict[str, Any], is_good: bool
) -> None:
    assert toolway("schema", enable=["greet"]) == 0

    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.is_valid(schema, configuration) is is_good


def test_the_schema_is_not_made_with_a_broken_plugin(toolway: Toolway, capsys: pytest.CaptureFixture[str]) -> None:
    assert toolway("schema", enable=["torn"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("toolway: plugin 'torn' (toolway-torn 1.2) ")
