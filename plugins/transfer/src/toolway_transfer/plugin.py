"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class TransferSettings(Settings):
    """What files may contain."""

    allow_programs: bool = Field(
        False,
        description="Whether administrators may import upstreams that are programs, of kind `stdio`: whoever wrote the "
        "file decides what the gateway runs.",
    )
    max_bytes: int = Field(
        4_000_000,
        ge=1_000,
        le=64_000_000,
        description="Of an imported document; the limit of request bodies counts too.",
    )
    max_objects: int = Field(10_000, ge=1, le=1_000_000, description="In an imported document.")


class TransferPlugin(Plugin[TransferSettings]):
    """Offers the operations; everything else is in their handlers."""

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/export` and `/api/v1/import`."""
        from toolway_transfer.operations import Transfers

        return Transfers(kernel, self.settings).operations()
