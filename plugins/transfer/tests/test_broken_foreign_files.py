"""Files of other programs with something odd at every place: an upstream is refused, or the file is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from places import places

from toolway.plugin import InvalidInput
from toolway_transfer.foreign.formats import translated

URL = "https://a.example.com/"
PROGRAM = {"command": "sh", "args": ["x"], "env": {"A": "b"}, "cwd": "/", "envFile": "x"}
PACKAGE: dict[str, Any] = {
    "registryType": "npm",
    "identifier": "a",
    "version": "1",
    "runtimeArguments": [{"type": "named", "name": "-y", "value": "{v}", "variables": {"v": {"default": "q"}}}],
    "packageArguments": [{"type": "positional", "value": "q", "choices": ["q"]}],
    "environmentVariables": [{"name": "A", "isSecret": True, "default": "z"}],
}
REMOTE = {"type": "sse", "url": URL + "{x}", "headers": [{"name": "A", "value": "{k}"}], "variables": {"x": {}}}
FILES: dict[str, dict[str, Any]] = {
    "mcpServers": {"mcpServers": {"b": {"url": URL, "headers": {"a": "b"}, "disabled": True}, "c": PROGRAM}},
    "VS Code": {"servers": {"b": {"url": URL + "${input:k}"}}, "inputs": [{"id": "k", "default": "d"}]},
    "settings": {"mcp": {"servers": {"b": {"url": URL}}, "inputs": [{"id": "k", "default": "d"}]}},
    "server.json": {"name": "io.example/b", "description": "d", "remotes": [REMOTE], "packages": [PACKAGE]},
    "package": {"name": "io.example/b", "packages": [PACKAGE]},
    "list": {"servers": [{"server": {"name": "a/b", "remotes": [REMOTE]}}]},
    "context-forge": {
        "entities": {
            "gateways": [{"name": "g", "url": URL, "description": "d", "auth_type": "bearer", "auth_value": "x"}],
            "servers": [{"name": "s", "description": "d", "is_active": True, "associated_tools": ["g-a"]}],
            "tools": [{"name": "t"}],
        }
    },
}
ODD = (7, {"a": 1}, ["x"], [["x"]], True, None, 1e308, 2**70, "", "x" * 5000)
INPUTS = {"AUTH_ENCRYPTION_SECRET": "q", "k": "z"}


def broken(file: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The file with each of `ODD` at each place."""
    for number in range(len(places(file))):
        for odd in ODD:
            made = deepcopy(file)
            holder, key = places(made)[number]
            holder[key] = odd
            yield made


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_what_is_odd_is_refused_wherever_it_is(file: dict[str, Any]) -> None:
    for made in broken(file):
        with suppress(InvalidInput):
            found = translated(made, INPUTS)
            assert all(isinstance(value["name"], str) for _, value, _, _ in found.upstreams)
