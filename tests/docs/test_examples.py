"""What the pages show can be used: configuration fits the schema, JSON and Python can be read, commands typed."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import reference_pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "core/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"(?:^|`|\$ |bin/)toolway ([a-z][a-z-]*)(?: ([a-z][a-z-]*)(?![\w/-]))?", re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The rest of the first line and the content of each block."""
    return [(rest, text) for name, rest, text in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


@cache
def schema(*enable: str) -> jsonschema_rs.Draft202012Validator:
    described = reference_pages.configuration(*enable)
    return jsonschema_rs.Draft202012Validator(described)


def plugins_in(configuration: dict[str, Any]) -> list[str]:
    """Those of this repository that it enables."""
    enabled = configuration.get("plugins", {}).get("enable", ())
    return [name for name in enabled if (ROOT / "plugins" / name).is_dir()]


@every_page
def test_every_configuration_is_valid(page: Path) -> None:
    for rest, text in blocks(page, "toml"):
        configuration = tomllib.loads(text)
        if "pyproject" not in rest and "prompts/" not in rest:
            assert [
                f"{error.instance_path}: {error.message}"
                for error in schema(*plugins_in(configuration)).iter_errors(configuration)
            ] == []


@every_page
def test_every_json_can_be_read(page: Path) -> None:
    for _, text in blocks(page, "json"):
        json.loads(text)


@every_page
def test_every_command_can_be_typed(page: Path) -> None:
    typed = TYPED.findall(page.read_text(encoding="utf-8"))

    assert [name for name, _ in typed if name not in commands()] == []
    assert [name for name in typed if all(name) and commands()[name[0]] and name[1] not in commands()[name[0]]] == []


@cache
def commands() -> dict[str, set[str]]:
    """Every command, of plugins too, with the commands in it if it is a group."""
    found = {name.removeprefix("toolway "): command for name, command in reference_pages.typed()}
    return {name: set(getattr(getattr(command, "own", command), "commands", ())) for name, command in found.items()}


@every_page
def test_every_program_can_be_compiled(page: Path) -> None:
    for _, text in blocks(page, "python"):
        compile(text, str(page), "exec")
