"""What is declared: upstreams and servers of the configuration and of the database, merged into one list each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from toolway.errors import ToolwayError
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import CatalogSource, Upstream
from toolway.hookspecs.system import Stored

Resolve = Callable[[UpstreamSettings], Upstream]
"""Makes an upstream of its settings; raises ToolwayError when its kind or credentials are not usable."""


class Declared(msgspec.Struct, frozen=True, eq=False):
    """Everything declared, by name. `filed` is what the API only shows, by collection and name.

    `problems` tells what is not in force and why.
    """

    upstreams: Mapping[str, Upstream] = {}
    servers: Mapping[str, ServerSettings] = {}
    filed: Mapping[str, Mapping[str, Stored]] = {}
    problems: Sequence[str] = ()


async def load(
    sources: Sequence[CatalogSource], upstreams: Sequence[Stored], servers: Sequence[Stored], resolve: Resolve
) -> Declared:
    """Merge what sources declare with stored objects. Sources win, the first one first; nothing is hidden silently."""
    desired = [await source.load() for source in sources]
    problems: list[str] = []
    filed_upstreams, filed_servers = (
        [Stored(one.name, one, 0, "file") for each in desired for one in getattr(each, collection)]
        for collection in ("upstreams", "servers")
    )
    all_upstreams = _by_name("upstream", [*filed_upstreams, *upstreams], problems)
    all_servers = _by_name("server", [*filed_servers, *servers], problems)
    return Declared(
        _resolved(all_upstreams.values(), resolve, problems),
        {name: _value(stored) for name, stored in all_servers.items()},
        {"upstreams": _filed(all_upstreams), "servers": _filed(all_servers)},
        problems,
    )


def _by_name(what: str, declared: Iterable[Stored], problems: list[str]) -> dict[str, Stored]:
    """The first of each name; the others are told."""
    found: dict[str, Stored] = {}
    for stored in declared:
        if found.setdefault(stored.name, stored) is not stored:
            origin = "in the database" if stored.managed_by == "api" else "declared again"
            problems.append(
                f"{what} {stored.name!r} {origin} is not in force: the configuration declares one of that name; "
                "rename one"
            )
    return found


def _resolved(declared: Iterable[Stored], resolve: Resolve, problems: list[str]) -> dict[str, Upstream]:
    found = {}
    for stored in declared:
        try:
            upstream = resolve(_value(stored))
        except ToolwayError as error:
            problems.append(f"upstream {stored.name!r} is left out: {error.message}")
            continue
        found[stored.name] = msgspec.structs.replace(upstream, managed_by=stored.managed_by, revision=stored.revision)
    return found


def _filed(declared: Mapping[str, Stored]) -> dict[str, Stored]:
    return {name: stored for name, stored in declared.items() if stored.managed_by == "file"}


def _value(stored: Stored) -> Any:
    return stored.value
