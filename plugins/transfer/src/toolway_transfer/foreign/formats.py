"""Recognizes files of other programs by their shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolway.plugin import InvalidInput
from toolway_transfer.foreign.context_forge import context_forge
from toolway_transfer.foreign.mcp_servers import mcp_servers
from toolway_transfer.foreign.reading import Foreign
from toolway_transfer.foreign.registry import registry


def translated(document: Mapping[str, Any], inputs: Mapping[str, str]) -> Foreign:
    """What the file declares; raises InvalidInput for one of no known shape."""
    nested = document.get("mcp")
    if isinstance(document.get("mcpServers"), dict):
        return mcp_servers(document["mcpServers"], (), inputs, "mcpServers")
    if isinstance(nested, dict) and isinstance(nested.get("servers"), dict):  # settings.json of VS Code
        return mcp_servers(nested["servers"], nested.get("inputs", ()), inputs, "VS Code")
    if isinstance(document.get("servers"), dict):
        return mcp_servers(document["servers"], document.get("inputs", ()), inputs, "VS Code")
    if isinstance(document.get("entities"), dict):
        return context_forge(document["entities"], inputs)
    if isinstance(document.get("servers"), list):
        every = [each.get("server", each) for each in document["servers"] if isinstance(each, dict)]
        return registry(every, inputs)
    if "packages" in document or "remotes" in document:
        return registry([document], inputs)
    raise InvalidInput(
        "the document is of no known form; known are exports of Toolway and of mcp-context-forge, files with "
        "mcpServers (Claude Desktop, Cursor), mcp.json of VS Code, and server.json of the MCP registry"
    )
