"""Files of clients: `mcpServers` of Claude Desktop and Cursor, `servers` with `inputs` of VS Code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolway.plugin import InvalidInput
from toolway_transfer.foreign.reading import Foreign, filled, text, text_table, texts

_PLACEHOLDER = re.compile(r"\$\{(?:input:)?([^}]+)\}")
"""`${input:key}` and `${env:NAME}` of VS Code and Cursor, `${NAME}` of others."""


def mcp_servers(servers: Mapping[str, Any], declared: Any, inputs: Mapping[str, str], source: str) -> Foreign:
    """Each server is an upstream; `declared` are the inputs that VS Code would ask for."""
    found = Foreign(source)
    defaults = {
        each["id"]: each["default"]
        for each in (declared if isinstance(declared, list) else ())
        if isinstance(each, dict) and isinstance(each.get("id"), str) and isinstance(each.get("default"), str)
    }
    for name, server in servers.items():
        found.add(name, lambda server=server: _upstream(server, {**defaults, **inputs}))  # type: ignore[misc]
    return found


def _upstream(server: Any, inputs: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(server, dict):
        raise InvalidInput("it should be a table")
    made: dict[str, Any] = {}
    if server.get("disabled") is True or server.get("enabled") is False:
        made["enabled"] = False
    if url := text(server, "url") or text(server, "serverUrl"):
        made |= {"kind": "http", "endpoints": [filled(url, _PLACEHOLDER, inputs)]}
        made["headers"] = {
            key: filled(value, _PLACEHOLDER, inputs) for key, value in text_table(server, "headers").items()
        }
        return made
    if "envFile" in server:
        raise InvalidInput("envFile is not read; write its variables into env")
    command = text(server, "command")
    if not command:
        raise InvalidInput("it has neither a url nor a command")
    made |= {
        "kind": "stdio",
        "command": [filled(each, _PLACEHOLDER, inputs) for each in (command, *texts(server, "args"))],
    }
    made["env"] = {key: filled(value, _PLACEHOLDER, inputs) for key, value in text_table(server, "env").items()}
    if cwd := text(server, "cwd"):
        made["cwd"] = filled(cwd, _PLACEHOLDER, inputs)
    return made
