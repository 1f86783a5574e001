"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_server_keys.authenticator import KeyAuthenticator
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
    authenticator: KeyAuthenticator
    maker: KeyMaker
    operations: KeyOperations
    upkeep: Upkeep

    @classmethod
    def of(cls, kernel: Kernel, settings: ServerKeysSettings) -> Parts:
        """Everything, for this gateway."""
        store = KeyStore(kernel.database, kernel.clock)
        known = KnownKeys(store, kernel.clock)
        authenticator = KeyAuthenticator(kernel, known)
        maker = KeyMaker(kernel, store, Lifetimes(settings.default_ttl, settings.max_ttl, settings.default_grace))
        upkeep = Upkeep(
            kernel, store, authenticator, retention=settings.retention, record_interval=settings.record_interval
        )
        return cls(kernel, store, known, authenticator, maker, KeyOperations(kernel, store, maker), upkeep)
