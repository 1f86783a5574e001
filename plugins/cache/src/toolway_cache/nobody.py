"""The client of calls that the cache makes itself."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw

from toolway.plugin import ClientCannot

CLIENT_INFO = {"name": "toolway-cache"}


class Nobody:
    """The peer of calls that no client waits for."""

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nobody hears it."""

    async def ask(self, method: str, params: Raw) -> Raw:
        """Nobody answers."""
        raise ClientCannot(f"{method} cannot be answered: nobody waits for this call")
