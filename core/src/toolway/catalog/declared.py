"""What is declared: upstreams and servers of the configuration, of plugins and of the database, one list of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from toolway.catalog.definitions import Definitions
from toolway.errors import ToolwayError
from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import CatalogSource, Desired, Upstream
from toolway.hookspecs.system import Transaction

if TYPE_CHECKING:
    from toolway.config import Config

ALL = "all"


def configured(config: Config, definitions: Definitions, *, guarded: bool, demo: bool = False) -> Desired:
    """What the file declares, and the built-in server `all`; raises InvalidInput.

    `guarded` says whether anything but the local admin token authenticates.
    """
    upstreams = [definitions.settings(raw) for raw in config.upstreams]
    if demo:
        command = (sys.executable, "-m", "toolway.cli.demo")
        upstreams.append(definitions.settings({"name": "demo", "kind": "stdio", "command": command}))
    servers = [definitions.server(raw) for raw in config.servers]
    if all(server.name != ALL for server in servers):
        access = config.gateway.access or ("authenticated" if guarded else "public")
        meaning = "Everything that is registered."
        servers.append(ServerSettings(name=ALL, description=meaning, access=access, naming=config.gateway.naming))
    return Desired(tuple(upstreams), tuple(servers))


class Declared(msgspec.Struct, frozen=True, eq=False):
    """Everything that is in force; `problems` tells what is not, and why."""

    upstreams: Mapping[str, Upstream] = {}
    servers: Sequence[ServerSettings] = ()
    problems: Sequence[str] = ()


async def load(
    tx: Transaction, definitions: Definitions, configured: Desired, sources: Iterable[CatalogSource]
) -> Declared:
    """Merge what is desired. The first of each name is in force; nothing is hidden silently."""
    problems: list[str] = []
    desired = [("the configuration", configured), *[(each.name, await each.desired(tx)) for each in sources]]
    upstreams = _merged("upstream", [(origin, each.upstreams) for origin, each in desired], problems)
    servers = _merged("server", [(origin, each.servers) for origin, each in desired], problems)
    return Declared(_resolved(upstreams, definitions, problems), servers, problems)


def _merged(noun: str, desired: Iterable[tuple[str, Iterable[Any]]], problems: list[str]) -> list[Any]:
    """The first of each name; the others are told."""
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, each in ((origin, each) for origin, every in desired for each in every):
        if found.setdefault(each.name, each) is not each:
            winner = origins[each.name]
            problems.append(f"{noun} {each.name!r} of {origin} is not in force: {winner} declares it; rename one")
        origins.setdefault(each.name, origin)
    return list(found.values())


def _resolved(declared: Iterable[Any], definitions: Definitions, problems: list[str]) -> dict[str, Upstream]:
    """The upstreams whose kind and credentials can be used."""
    found = {}
    for settings in declared:
        try:
            found[settings.name] = definitions.resolve(settings)
        except ToolwayError as error:
            problems.append(f"upstream {settings.name!r} is left out: {error.message}")
    return found
