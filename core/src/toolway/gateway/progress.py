"""What an upstream sends during a call: progress gets the client's token back, log messages are filtered by level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from toolway.gateway.exchange import Exchange
from toolway.hookspecs.routing import Peer

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, as MCP names them."""


def passes_level(params: Mapping[str, Raw], wanted: str | None) -> bool:
    """Whether a log message is at least as severe as the client wants (None: everything)."""
    if wanted is None:
        return True
    level = decoded(params, "level", str)
    return level in LEVELS and wanted in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)


def decoded(params: Mapping[str, Raw], key: str, expected: type[Any]) -> Any:
    """A member of a notification's params; None when it is missing or of another type."""
    try:
        return msgspec.json.decode(params[key], type=expected)
    except (KeyError, msgspec.DecodeError):
        return None


class AttemptPeer:
    """The peer that an upstream sees during one attempt; what does not belong to the call goes to the leg's."""

    __slots__ = ("_exchange", "_last", "_leg", "_token")

    def __init__(self, exchange: Exchange, leg: Peer, token: Raw | None) -> None:
        self._exchange = exchange
        self._leg = leg
        self._token = token
        self._last = float("-inf")

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass on what belongs to this call; modern clients that named no level want no log messages."""
        if method == "notifications/progress":
            self._progress(params)
        elif method == "notifications/message":
            client = self._exchange.client
            if (client.era == "legacy" or client.log_level is not None) and passes_level(params, client.log_level):
                self._exchange.notify(method, params)
        else:
            self._leg.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Ask the client of this call."""
        return await self._exchange.ask(method, params)

    def _progress(self, params: Mapping[str, Raw]) -> None:
        progress = decoded(params, "progress", float)
        if self._token is not None and progress is not None and progress > self._last:
            self._last = progress
            self._exchange.notify("notifications/progress", {**params, "progressToken": self._token})
