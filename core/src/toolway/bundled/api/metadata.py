"""Protected-resource metadata of each MCP endpoint (RFC 9728), for clients that look for an authorization server."""

from __future__ import annotations

from typing import Any

from toolway.hookspecs.api import PUBLIC, Incoming, Operation
from toolway.hookspecs.challenge import WELL_KNOWN, Challenges
from toolway.plugin import NotFound


class Metadata:
    """Answers alike for every name: that there is a server is told to nobody who may not use it."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    def operations(self) -> list[Operation]:
        """One for the server `all`, one for each other."""
        paths = (f"{WELL_KNOWN}/mcp", f"{WELL_KNOWN}/servers/{{name}}/mcp")
        return [Operation("GET", path, PUBLIC, self.read, answer=dict[str, Any]) for path in paths]

    async def read(self, incoming: Incoming) -> dict[str, Any]:
        """Name the authorization servers of an MCP endpoint."""
        name = incoming.path.get("name")
        if not self._challenges.servers:
            raise NotFound("no authorization server is configured; set gateway.authorization_servers")
        return {
            "resource": f"{self._challenges.url}{f'/servers/{name}' if name else ''}/mcp",
            "authorization_servers": self._challenges.servers,
            "bearer_methods_supported": ["header"],
            "resource_name": "Toolway",
        }
