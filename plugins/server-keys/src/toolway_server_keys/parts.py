"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_server_keys.authenticator import KeyAuthenticator
from toolway_server_keys.endings import DeletedServers, EndedCredentials
from toolway_server_keys.key_store import KeyStore
from toolway_server_keys.known_keys import KnownKeys
from toolway_server_keys.lifetimes import Lifetimes
from toolway_server_keys.making import KeyMaker
from toolway_server_keys.operations import KeyOperations
from toolway_server_keys.upkeep import Upkeep

if TYPE_CHECKING:
    from toolway_server_keys.plugin import ServerKeysSettings


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    store: KeyStore
    known: KnownKeys
    ended: EndedCredentials
    deleted: DeletedServers
    authenticator: KeyAuthenticator
    maker: KeyMaker
    operations: KeyOperations
    upkeep: Upkeep

    @classmethod
    def of(cls, kernel: Kernel, settings: ServerKeysSettings) -> Parts:
        """Everything, for this gateway."""
        store = KeyStore(kernel.database, kernel.clock)
        known = KnownKeys(store, kernel.clock)
        ended = EndedCredentials(known)
        authenticator = KeyAuthenticator(kernel, known, ended)
        lifetimes = Lifetimes(settings.default_ttl, settings.max_ttl, settings.default_grace)
        maker = KeyMaker(kernel, store, lifetimes, ended)
        upkeep = Upkeep(
            kernel, store, authenticator, ended, retention=settings.retention, record_interval=settings.record_interval
        )
        operations = KeyOperations(kernel, store, maker)
        return cls(kernel, store, known, ended, DeletedServers(store), authenticator, maker, operations, upkeep)
