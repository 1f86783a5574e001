"""The upstreams and servers of the configuration file, and the built-in server `all`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from toolway.catalog.definitions import Definitions
from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import Desired

if TYPE_CHECKING:
    from toolway.config import Config

ALL = "all"


class ConfiguredSource:
    """A catalog source. `guarded` says whether anything but the local admin token authenticates."""

    name = "configuration"

    def __init__(self, config: Config, definitions: Definitions, *, guarded: bool, demo: bool = False) -> None:
        upstreams = [definitions.settings(raw) for raw in config.upstreams]
        if demo:
            command = (sys.executable, "-m", "toolway.cli.demo")
            upstreams.append(definitions.settings({"name": "demo", "kind": "stdio", "command": command}))
        servers = [definitions.server(raw) for raw in config.servers]
        if all(server.name != ALL for server in servers):
            servers.append(self._everything(config, guarded=guarded))
        self._desired = Desired(tuple(upstreams), tuple(servers))
        self.upstreams = frozenset(upstream.name for upstream in upstreams)
        self.servers = frozenset(server.name for server in servers)

    async def load(self) -> Desired:
        """What the file declared when the gateway was built."""
        return self._desired

    @staticmethod
    def _everything(config: Config, *, guarded: bool) -> ServerSettings:
        access = config.gateway.access or ("authenticated" if guarded else "public")
        return ServerSettings(
            name=ALL, description="Everything that is registered.", access=access, naming=config.gateway.naming
        )
