"""What an upstream sends during a call: progress gets the client's token back, log messages are filtered by level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.legs import HeldLeg

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, as MCP names them."""


def passes_level(params: Mapping[str, Raw], wanted: str | None) -> bool:
    """Whether a log message is at least as severe as the client wants (None: everything)."""
    if wanted is None:
        return True
    try:
        level = msgspec.json.decode(params["level"])
        return LEVELS.index(level) >= LEVELS.index(wanted)
    except (KeyError, ValueError):
        return False


class AttemptPeer:
    """The peer that an upstream sees during one attempt."""

    __slots__ = ("_exchange", "_held", "_last", "_log_level", "_silent", "_token")

    def __init__(
        self, exchange: Exchange, held: HeldLeg, token: Raw | None, *, log_level: str | None, silent: bool
    ) -> None:
        self._exchange = exchange
        self._held = held
        self._token = token
        self._last = float("-inf")
        self._log_level = log_level
        self._silent = silent

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass on what belongs to this call; everything else is the leg's."""
        if method == "notifications/progress":
            self._progress(params)
        elif method == "notifications/message":
            if not self._silent and passes_level(params, self._log_level):
                self._exchange.notify(method, params)
        else:
            self._held.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Ask the client of this call."""
        return await self._exchange.ask(method, params)

    def _progress(self, params: Mapping[str, Raw]) -> None:
        if self._token is None:
            return
        try:
            progress = msgspec.json.decode(params["progress"], type=float)
        except (KeyError, msgspec.DecodeError):
            return
        if progress > self._last:
            self._last = progress
            self._exchange.notify("notifications/progress", {**params, "progressToken": self._token})
