"""`server.json` of the MCP registry: a remote where there is one, else a package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolway.plugin import InvalidInput
from toolway_transfer.foreign.reading import Foreign, filled, text

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


def registry(servers: Sequence[Any], inputs: Mapping[str, str]) -> Foreign:
    """Each server is an upstream, called by the last part of its name."""
    found = Foreign("MCP registry")
    for server in servers:
        name = server.get("name") if isinstance(server, dict) else None
        if not isinstance(name, str):
            raise InvalidInput("a server of the registry has no name; it is no server.json")
        found.add(name.rpartition("/")[2], lambda server=server: _upstream(server, inputs))  # type: ignore[misc]
    return found


def _upstream(server: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    made = {"description": text(server, "description")[:1000]}
    if remote := next(_tables(server, "remotes"), None):
        url = filled(text(remote, "url"), _PLACEHOLDER, {**_defaults(remote.get("variables")), **inputs})
        return {**made, "kind": "http", "endpoints": [url], "headers": _values(remote, "headers", inputs)}
    package = next(_tables(server, "packages"), None)
    if package is None:
        raise InvalidInput("it has neither remotes nor packages")
    transport = package.get("transport")
    if isinstance(transport, dict) and transport.get("type") not in (None, "stdio"):
        raise InvalidInput("its package is a program that listens on a port; start it yourself, and register its URL")
    command = _command(package, inputs)
    return {**made, "kind": "stdio", "command": command, "env": _values(package, "environmentVariables", inputs)}


def _command(package: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """What runs the package, by its type."""
    kind, name = text(package, "registryType") or text(package, "registry_name"), text(package, "identifier")
    version, hint = text(package, "version"), text(package, "runtimeHint")
    if not name:
        raise InvalidInput("its package has no identifier")
    before, after = (
        [each for argument in _tables(package, member) for each in _argument(argument, inputs)]
        for member in ("runtimeArguments", "packageArguments")
    )
    at = f"@{version}" if version else ""
    match kind:
        case "npm":
            return [hint or "npx", *(before or ["-y"]), name + at, *after]
        case "pypi":
            return [hint or "uvx", *before, name + at, *after]
        case "oci":
            image = name if ":" in name.rpartition("/")[2] or not version else f"{name}:{version}"
            return [hint or "docker", *(before or ["run", "-i", "--rm"]), image, *after]
    raise InvalidInput(f"packages of type {kind!r} are not known; known are npm, pypi and oci")


def _argument(argument: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    name = text(argument, "name")
    label = name or text(argument, "valueHint")
    value = _value(argument, label, inputs)
    return [each for each in (name if argument.get("type") == "named" else "", value) if each]


def _values(table: Mapping[str, Any], member: str, inputs: Mapping[str, str]) -> dict[str, str]:
    """Headers or variables that have a value."""
    found = {text(each, "name"): _value(each, text(each, "name"), inputs) for each in _tables(table, member)}
    return {name: value for name, value in found.items() if name and value}


def _value(table: Mapping[str, Any], label: str, inputs: Mapping[str, str]) -> str:
    """What it is given, else what it says itself, else its default."""
    if label in inputs:
        return inputs[label]
    value = text(table, "value") or text(table, "default")
    if not value and table.get("isRequired") is True:
        raise InvalidInput(f"it needs a value for {label}; give it with --input {label}=VALUE")
    return filled(value, _PLACEHOLDER, {**_defaults(table.get("variables")), **inputs})


def _defaults(variables: Any) -> dict[str, str]:
    every = variables.items() if isinstance(variables, dict) else ()
    return {
        name: found
        for name, each in every
        if isinstance(each, dict) and isinstance(found := each.get("value") or each.get("default"), str)
    }


def _tables(table: Mapping[str, Any], member: str) -> Iterator[dict[str, Any]]:
    found = table.get(member)
    yield from (each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))
