"""Files of other programs, without a gateway."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from toolway.plugin import InvalidInput
from toolway_transfer.export_command import parsed
from toolway_transfer.foreign.formats import translated
from toolway_transfer.foreign.reading import Foreign

DESKTOP = {
    "mcpServers": {
        "File System": {"command": "npx", "args": ["-y", "server-filesystem", "/tmp"], "env": {"KEY": "k1", "N": 3}},
        "file-system": {
            "type": "http",
            "url": "https://a.example.com/mcp",
            "headers": {"X-Key": "k2"},
            "disabled": True,
        },
        "odd": {"args": []},
        "cursor": {"url": "https://c.example.com/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
    }
}
CODE = """{
  // written by hand
  "inputs": [{"id": "token", "type": "promptString", "password": true}, {"id": "host", "default": "b.example.com"}],
  "servers": {
    "remote": {"type": "http", "url": "https://${input:host}/mcp",
      "headers": {"Authorization": "Bearer ${input:token}"}},
    "local": {"command": "uvx", "args": ["server-time"], "cwd": "/srv",}, /* trailing comma */
  },
}"""
REMOTE = {
    "name": "io.example/weather",
    "description": "Weather",
    "version": "1.0.0",
    "remotes": [
        {
            "type": "streamable-http",
            "url": "https://{tenant}.example.com/mcp",
            "variables": {"tenant": {"default": "free"}},
            "headers": [{"name": "X-Key", "isRequired": True, "isSecret": True}],
        }
    ],
}
PACKAGE = {
    "name": "io.example/files",
    "packages": [
        {
            "registryType": "npm",
            "identifier": "@example/files",
            "version": "2.1.0",
            "transport": {"type": "stdio"},
            "packageArguments": [
                {"type": "named", "name": "--root", "value": "/srv"},
                {"type": "positional", "valueHint": "mode", "default": "ro"},
            ],
            "environmentVariables": [{"name": "TOKEN", "isRequired": True}, {"name": "LEVEL", "default": "info"}],
        }
    ],
}


def by_name(found: Foreign) -> dict[str, Any]:
    """Each upstream, or what is wrong with it."""
    return {given: problem or value for given, value, _, problem in found.upstreams}


def test_servers_of_claude_desktop_and_cursor_are_upstreams() -> None:
    found = by_name(translated(DESKTOP, {"env:TOKEN": "t"}))

    assert found == {
        "File System": {
            "name": "file-system",
            "kind": "stdio",
            "command": ["npx", "-y", "server-filesystem", "/tmp"],
            "env": {"KEY": "k1", "N": "3"},
        },
        "file-system": {
            "name": "file-system-2",
            "kind": "http",
            "endpoints": ["https://a.example.com/mcp"],
            "headers": {"X-Key": "k2"},
            "enabled": False,
        },
        "odd": "it has neither a url nor a command",
        "cursor": {
            "name": "cursor",
            "kind": "http",
            "endpoints": ["https://c.example.com/mcp"],
            "headers": {"Authorization": "Bearer t"},
        },
    }


@pytest.mark.parametrize("wrap", [lambda file: file, lambda file: {"mcp": file}])
def test_a_file_of_vs_code_may_have_comments_and_inputs(wrap: Any) -> None:
    file = wrap(parsed(CODE, "mcp.json"))

    asked, given = by_name(translated(file, {})), by_name(translated(file, {"token": "s"}))

    assert asked["remote"] == "it needs a value for token; give it with --input token=VALUE"
    assert given["remote"]["endpoints"] == ["https://b.example.com/mcp"]
    assert given["remote"]["headers"] == {"Authorization": "Bearer s"}
    assert given["local"]["command"] == ["uvx", "server-time"] and given["local"]["cwd"] == "/srv"


def test_a_server_of_the_registry_is_its_remote_or_its_package() -> None:
    listed = {"servers": [{"server": REMOTE}, {"server": PACKAGE}]}
    found = by_name(translated(listed, {"X-Key": "k", "tenant": "acme", "TOKEN": "t"}))

    assert found["weather"]["endpoints"] == ["https://acme.example.com/mcp"]
    assert found["weather"]["headers"] == {"X-Key": "k"}
    assert found["files"]["command"] == ["npx", "-y", "@example/files@2.1.0", "--root", "/srv", "ro"]
    assert found["files"]["env"] == {"TOKEN": "t", "LEVEL": "info"}
    assert "--input X-Key=VALUE" in by_name(translated(REMOTE, {}))["weather"]
    assert "--input TOKEN=VALUE" in by_name(translated(PACKAGE, {}))["files"]


def test_gateways_of_context_forge_are_upstreams_and_its_servers_servers() -> None:
    nonce, key = b"n" * 12, hashlib.sha256(b"forge-secret").digest()
    sealed = nonce + AESGCM(key).encrypt(nonce, json.dumps({"Authorization": "Bearer b"}).encode(), None)
    file = {
        "version": "2025-03-26",
        "exported_at": "2026-01-01T00:00:00Z",
        "exported_by": "admin",
        "entities": {
            "gateways": [
                {
                    "name": "Billing API",
                    "url": "https://b.example.com/mcp",
                    "is_active": True,
                    "transport": "STREAMABLEHTTP",
                },
                {
                    "name": "locked",
                    "url": "https://l.example.com/mcp",
                    "is_active": False,
                    "auth_type": "bearer",
                    "auth_value": base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(),
                },
            ],
            "servers": [
                {"name": "Finance", "description": "Money", "tool_ids": ["billing-api-get-invoice"], "is_active": True},
                {"name": "ids", "tool_ids": ["0" * 32]},
            ],
            "tools": [{"name": "rest", "url": "https://r.example.com"}],
        },
    }

    found = translated(file, {"AUTH_ENCRYPTION_SECRET": "forge-secret"})

    assert by_name(found)["Billing API"]["endpoints"] == ["https://b.example.com/mcp"]
    assert by_name(found)["locked"]["headers"] == {"Authorization": "Bearer b"}
    assert by_name(found)["locked"]["enabled"] is False
    assert found.servers == [{"name": "finance", "description": "Money", "include": ["billing-api/get*invoice"]}]
    assert len(found.notes) == 2 and "'ids'" in found.notes[0] and "1 tools" in found.notes[1]
    assert "does not open" in by_name(translated(file, {"AUTH_ENCRYPTION_SECRET": "other"}))["locked"]
    assert "AUTH_ENCRYPTION_SECRET=VALUE" in by_name(translated(file, {}))["locked"]


@pytest.mark.parametrize("server", [7, {"url": 3}, {"command": "x", "args": "y"}, {"command": "x", "env": {"a": {}}}])
def test_what_has_another_shape_is_told(server: Any) -> None:
    assert "should be a" in by_name(translated({"mcpServers": {"x": server}}, {}))["x"]


def test_a_file_of_no_known_form_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no known form"):
        translated({"servers": 3}, {})
