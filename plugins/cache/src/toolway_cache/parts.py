"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.hookspecs.system import Service
from toolway.plugin import Kernel
from toolway_cache.cache import Cache
from toolway_cache.keeping import Keeping
from toolway_cache.meters import CacheMeters
from toolway_cache.operations import CacheOperations
from toolway_cache.shared import SharedCopies

if TYPE_CHECKING:
    from toolway_cache.settings import CacheSettings


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    cache: Cache
    operations: CacheOperations
    services: tuple[Service, ...]

    @classmethod
    def of(cls, kernel: Kernel, settings: CacheSettings) -> Parts:
        """Everything, for this gateway."""
        shared = SharedCopies(kernel, settings) if settings.shared else None
        cache = Cache(kernel, settings, shared)
        keeping = Keeping(kernel, settings, cache, shared)
        operations = CacheOperations(kernel, settings, cache, keeping)
        return cls(kernel, cache, operations, (keeping, CacheMeters(kernel.metrics, cache)))
