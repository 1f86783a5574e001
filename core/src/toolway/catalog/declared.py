"""What is declared: upstreams and servers of the configuration and of the database, merged into one list each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from toolway.errors import ToolwayError
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import CatalogSource, Upstream
from toolway.hookspecs.system import Stored

EVERYTHING = ServerSettings(name="all", description="Every item of every upstream.")
"""The built-in server at `/mcp`; a declared one of that name takes its place."""

Resolve = Callable[[UpstreamSettings], Upstream]
"""Makes an upstream of its settings; raises ToolwayError when its kind or credentials are not usable."""


class Declared(msgspec.Struct, frozen=True, eq=False):
    """Everything declared, by name. `filed` is what the API only shows, by collection and name.

    `problems` tells what is not in force and why.
    """

    upstreams: dict[str, Upstream] = {}
    servers: dict[str, ServerSettings] = {}
    filed: dict[str, dict[str, Stored]] = {}
    problems: tuple[str, ...] = ()


async def load(
    sources: Sequence[CatalogSource], upstreams: Sequence[Stored], servers: Sequence[Stored], resolve: Resolve
) -> Declared:
    """Merge what sources declare with stored objects. Sources win, the first one first; nothing is hidden silently."""
    declared = Declared(filed={"upstreams": {}, "servers": {}})
    problems: list[str] = []
    for source in sources:
        desired = await source.load()
        for settings in desired.upstreams:
            _add_upstream(declared, Stored(settings.name, settings, 0, "file"), resolve, problems)
        for server in desired.servers:
            _add_server(declared, Stored(server.name, server, 0, "file"), problems)
    for stored in upstreams:
        _add_upstream(declared, stored, resolve, problems)
    for stored in servers:
        _add_server(declared, stored, problems)
    if EVERYTHING.name not in declared.servers:
        _add_server(declared, Stored(EVERYTHING.name, EVERYTHING, 0, "file"), problems)
    return msgspec.structs.replace(declared, problems=tuple(problems))


def _add_upstream(declared: Declared, stored: Stored, resolve: Resolve, problems: list[str]) -> None:
    if stored.name in declared.upstreams:
        problems.append(_hidden("upstream", stored))
        return
    try:
        upstream = resolve(cast("UpstreamSettings", stored.value))
    except ToolwayError as error:
        problems.append(f"upstream {stored.name!r} is left out: {error.message}")
        return
    managed = msgspec.structs.replace(upstream, managed_by=stored.managed_by, revision=stored.revision)
    declared.upstreams[stored.name] = managed
    if stored.managed_by == "file":
        declared.filed["upstreams"][stored.name] = stored


def _add_server(declared: Declared, stored: Stored, problems: list[str]) -> None:
    if stored.name in declared.servers:
        problems.append(_hidden("server", stored))
    elif isinstance(stored.value, ServerSettings):
        declared.servers[stored.name] = stored.value
        if stored.managed_by == "file":
            declared.filed["servers"][stored.name] = stored


def _hidden(what: str, stored: Stored) -> str:
    origin = "in the database" if stored.managed_by == "api" else "declared again"
    return f"{what} {stored.name!r} {origin} is not in force: the configuration declares one of that name; rename one"
