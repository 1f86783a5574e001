"""Everything that works together, made once for a gateway."""

from __future__ import annotations

from dataclasses import dataclass

from toolway.plugin import Kernel
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


@dataclass
class Parts:
    """All of them."""

    kernel: Kernel
    auth: OAuthUser
    asking: Asking
    browser: Browser
    operations: ConnectionOperations
    upkeep: Upkeep

    @classmethod
    def of(cls, kernel: Kernel, settings: UserOAuthSettings) -> Parts:
        """Wire them."""
        connections, grants, tickets = Connections(kernel), Grants(kernel), Tickets(kernel)
        wallet = Wallet(kernel, connections, grants)
        upkeep = Upkeep(kernel, connections, wallet)
        discovery, proof = Discovery(kernel.http, kernel.clock), Proof(kernel, settings.proof)
        return cls(
            kernel,
            OAuthUser(wallet),
            Asking(kernel, wallet, tickets, settings.patience),
            Browser(kernel, tickets, discovery, grants, connections, proof, upkeep.connected),
            ConnectionOperations(kernel, connections, grants, tickets),
            upkeep,
        )
