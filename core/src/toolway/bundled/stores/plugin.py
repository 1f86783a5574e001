"""The key-value stores and publish/subscribes `memory` and `database`."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.caching import KeyValueStore, PubSub
from toolway.hookspecs.system import MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class StoresPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables behind `database`."""
        from toolway.bundled.stores.models import ValueRow

        return [MigrationSource("stores", "toolway.bundled.stores:migrations", ValueRow.metadata)]

    @hookimpl
    def toolway_keyvalue_stores(self, kernel: Kernel) -> Iterable[KeyValueStore]:
        """`memory` and `database`."""
        from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
        from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue

        return [MemoryKeyValue(kernel.clock), DatabaseKeyValue(kernel.database, kernel.clock)]

    @hookimpl
    def toolway_pubsubs(self, kernel: Kernel) -> Iterable[PubSub]:
        """`memory` and `database`."""
        from toolway.bundled.stores.pubsub_database import DatabasePubSub
        from toolway.bundled.stores.pubsub_memory import MemoryPubSub

        return [MemoryPubSub(), DatabasePubSub(kernel.database, kernel.clock)]
