"""Everything that works together, made once for a gateway."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from toolway.hookspecs.routing import Upstream
from toolway.plugin import Kernel, PluginError, ToolwayError
from toolway_user_oauth.asking import Asking
from toolway_user_oauth.auth import OAuthUser
from toolway_user_oauth.browser import Browser
from toolway_user_oauth.connections import Connections
from toolway_user_oauth.discovery import Discovery
from toolway_user_oauth.grants import Grants
from toolway_user_oauth.operations import ConnectionOperations
from toolway_user_oauth.plugin import UserOAuthSettings
from toolway_user_oauth.proof import Proof
from toolway_user_oauth.tickets import Tickets
from toolway_user_oauth.upkeep import Upkeep
from toolway_user_oauth.wallet import Wallet

log = logging.getLogger(__name__)


@dataclass
class Parts:
    """All of them."""

    kernel: Kernel
    connections: Connections
    wallet: Wallet
    auth: OAuthUser
    asking: Asking
    browser: Browser
    operations: ConnectionOperations
    upkeep: Upkeep
    tickets: Tickets
    _refreshing: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, kernel: Kernel, settings: UserOAuthSettings) -> Parts:
        """Wire them."""
        connections = Connections(kernel)
        grants = Grants(kernel.http, kernel.secrets, kernel.clock)
        wallet, tickets = Wallet(kernel, connections, grants), Tickets(kernel)
        discovery, proof = Discovery(kernel.http, kernel.clock), Proof(kernel, settings.proof)

        async def connected(principal: str, upstream: Upstream) -> None:
            await parts.connected(principal, upstream)

        parts = cls(
            kernel,
            connections,
            wallet,
            OAuthUser(wallet),
            Asking(kernel, wallet, tickets, settings.patience),
            Browser(kernel, tickets, discovery, grants, connections, proof, connected),
            ConnectionOperations(kernel, connections, grants, tickets),
            Upkeep(kernel, connections),
            tickets,
        )
        return parts

    def check(self) -> None:
        """Raise PluginError where people could not come back."""
        if not self.kernel.public_url:
            raise PluginError("people come back to the gateway from elsewhere: set public_url in [gateway]")

    async def connected(self, principal: str, upstream: Upstream) -> None:
        """This node knows at once; what the upstream offers is discovered with the account that is meant for it."""
        await self.kernel.catalog.reload()
        if getattr(upstream.auth, "discover_as", "") == principal:
            task = asyncio.create_task(self._discover(upstream.name))
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)

    async def _discover(self, upstream: str) -> None:
        try:
            await self.kernel.catalog.refresh(upstream)
        except ToolwayError as error:
            log.info("upstream %s was not discovered with the new connection: %s", upstream, error.message)
