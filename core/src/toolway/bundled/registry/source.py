"""What is in the registry, as a source of the catalog."""

from __future__ import annotations

from typing import Any

from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity
from toolway.hookspecs.routing import Desired
from toolway.hookspecs.system import Transaction


class Registered:
    """The upstreams and servers of the database."""

    name = "the database"

    def __init__(self, upstreams: UpstreamEntity, servers: ServerEntity) -> None:
        self._upstreams, self._servers = upstreams, servers

    async def desired(self, tx: Transaction) -> Desired:
        """See `CatalogSource`."""
        upstreams: Any = [stored.value for stored in await self._upstreams.rows(tx)]
        servers: Any = [stored.value for stored in await self._servers.rows(tx)]
        return Desired(tuple(upstreams), tuple(servers))
