"""What is declared: upstreams and servers of the configuration, of plugins and of the database, one list of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from toolway.catalog.definitions import Definitions
from toolway.catalog.entities import Rowed, ServerEntity, UpstreamEntity
from toolway.errors import ToolwayError
from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import Desired, Upstream
from toolway.hookspecs.system import Stored, Transaction

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


async def load(tx: Transaction, desired: Desired, upstreams: UpstreamEntity, servers: ServerEntity) -> Declared:
    """Merge what is desired with what is stored. The first of each name is in force; nothing is hidden silently."""
    problems: list[str] = []
    found = await _merged(tx, upstreams, desired.upstreams, problems)
    shown = await _merged(tx, servers, desired.servers, problems)
    resolved = _resolved(found, upstreams.definitions, problems)
    return Declared(resolved, [stored.value for stored in shown], problems)


async def _merged(tx: Transaction, entity: Rowed, desired: Iterable[Any], problems: list[str]) -> Iterable[Any]:
    """The first of each name; the entity learns which ones are not its own, and the others are told."""
    found: dict[str, Stored] = {}
    for stored in [*(Stored(one.name, one, 0, "file") for one in desired), *await entity.rows(tx)]:
        if found.setdefault(stored.name, stored) is not stored:
            origin = "in the database" if stored.managed_by == "api" else "declared again"
            problems.append(
                f"{entity.kind.removesuffix('s')} {stored.name!r} {origin} is not in force: the configuration "
                "declares one of that name; rename one"
            )
    entity.filed = {name: stored for name, stored in found.items() if stored.managed_by == "file"}
    return found.values()


def _resolved(declared: Iterable[Any], definitions: Definitions, problems: list[str]) -> dict[str, Upstream]:
    """The upstreams whose kind and credentials can be used."""
    found = {}
    for stored in declared:
        try:
            upstream = definitions.resolve(stored.value)
        except ToolwayError as error:
            problems.append(f"upstream {stored.name!r} is left out: {error.message}")
            continue
        found[stored.name] = msgspec.structs.replace(upstream, managed_by=stored.managed_by, revision=stored.revision)
    return found
