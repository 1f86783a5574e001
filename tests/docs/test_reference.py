"""Nothing is missing in the reference: each hook, setting, command, error code and route is looked for on its page."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import reference_pages
import typer
from pydantic import BaseModel

import toolway.hookspecs
from toolway.bundled.upstreams import auth as upstream_auth
from toolway.bundled.upstreams.http import HttpUpstream
from toolway.bundled.upstreams.stdio import StdioUpstream
from toolway.cli.app import app
from toolway.config.tables import AccountSettings, EgressSettings, GatewaySettings, PluginTables
from toolway.hookspecs.definitions import ServerSettings
from toolway.plugin.hooks import SPECS
from toolway_testing.gateway import StartGateway

KERNEL = Path(toolway.hookspecs.__file__).parents[1]
ROOTS: dict[str, type[BaseModel]] = {
    "[gateway]": GatewaySettings,
    "[plugins]": PluginTables,
    "[egress]": EgressSettings,
    "[accounts]": AccountSettings,
    '[[upstreams]] with kind = "http"': HttpUpstream,
    '[[upstreams]] with kind = "stdio"': StdioUpstream,
    "[[servers]]": ServerSettings,
}
CODE = re.compile(r'^    code = "(\w+)"$|Refusal\(\s*\d+,\s*"(\w+)"', re.MULTILINE)


@cache
def page(name: str) -> str:
    return pages()[f"reference/{name}.md"]


@cache
def pages() -> dict[str, str]:
    return reference_pages.pages()


def hook_modules() -> list[str]:
    names = [each.name for each in pkgutil.iter_modules(toolway.hookspecs.__path__)]
    return [name for name in names if hooks_of(name)]


def hooks_of(module: str) -> list[str]:
    return [
        name for name in vars(importlib.import_module(f"toolway.hookspecs.{module}")) if name.startswith("toolway_")
    ]


@pytest.mark.parametrize("module", hook_modules())
def test_every_hook_is_described_with_the_four_lines(module: str) -> None:
    sections = dict(re.findall(r"## `(toolway_\w+)` [^\n]*\n(.*?)(?=\n## |\Z)", page(f"hooks/{module}"), re.DOTALL))

    assert list(sections) == hooks_of(module)
    for hook, text in sections.items():
        assert f"[`{hook}`]({module}.md#{hook})" in page("hooks/index")
        assert [label for label in ("Called", "Used", "On error", "Since") if f"| {label} | " not in text] == []


def test_the_host_knows_the_hooks_of_every_module() -> None:
    assert sorted(spec.__name__.rpartition(".")[2] for spec in SPECS) == hook_modules()


def tables() -> dict[str, type[BaseModel]]:
    """Every table of the configuration: its heading on the page, and the model that checks it."""
    found = dict(ROOTS)
    for title, model in ROOTS.items():
        found |= tables_in(title.partition(" with ")[0].strip("[]"), model)
    providers: list[Any] = [each for each in vars(upstream_auth).values() if hasattr(each, "type")]
    return found | {f'[upstreams.auth] with type = "{each.type}"': each.settings for each in providers}


def tables_in(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        key = f"{path}.{name}"
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield f'[{key}."<name>"]' if get_origin(field.annotation) is dict else f"[{key}]", inner
                yield from tables_in(key, inner)


@cache
def sections() -> dict[str, str]:
    """What the page says about each table."""
    found = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page("settings"), re.MULTILINE | re.DOTALL)
    return {heading.replace("`", ""): text for heading, text in found}


def test_every_table_is_described() -> None:
    assert sorted(sections()) == sorted(tables())


@pytest.mark.parametrize("table", tables())
def test_every_setting_is_described_in_its_table(table: str) -> None:
    described = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]*\| \S", sections()[table], re.MULTILINE)

    assert [name for name in tables()[table].model_fields if name not in described] == []


def test_every_command_is_described() -> None:
    commands = dict(command_names("toolway", app))

    assert [name for name in commands if f"## `{name}`\n" not in page("commands")] == []
    assert [name for name, help_text in commands.items() if not help_text] == []


def command_names(prefix: str, group: typer.Typer) -> Iterator[tuple[str, str | None]]:
    for command in group.registered_commands:
        callback: Any = command.callback
        yield f"{prefix} {command.name or callback.__name__}", callback.__doc__
    for each in group.registered_groups:
        assert each.typer_instance is not None
        yield from command_names(f"{prefix} {each.name}", each.typer_instance)


def test_every_error_code_is_described() -> None:
    sources = [path.read_text(encoding="utf-8") for path in KERNEL.rglob("*.py")]
    codes = {first or second for source in sources for first, second in CODE.findall(source)}

    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in page("errors")) == []


async def test_every_operation_of_a_gateway_is_described(gateway: StartGateway) -> None:
    gate = await gateway()
    served = [operation.name for operation in gate.gateway.kernel.operations]

    assert "PUT /api/v1/upstreams/{name}" in served
    assert sorted(re.findall(r"^## `([A-Z]+ [^`]+)`$", page("api"), re.MULTILINE)) == sorted(served)
