"""What a client says of itself: which questions it takes, and which log messages it wants."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot
from toolway.hookspecs.routing import ClientProfile
from toolway.mcp.messages import decoded

NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""The client capability that a server-to-client request needs."""

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, as MCP names them."""


def can_be_asked(client: ClientProfile) -> bool:
    """Whether there is any question that the client takes."""
    return not client.capabilities.keys().isdisjoint(NEEDED.values())


def check_capability(client: ClientProfile, method: str, params: Raw) -> None:
    """Raise ClientCannot unless the client declared what `method` needs (URL elicitation needs `elicitation.url`)."""
    capability = NEEDED.get(method)
    declared = client.capabilities.get(capability) if capability else None
    if declared is None:
        raise ClientCannot(f"the client did not declare what {method} needs", capability=capability or method)
    if capability == "elicitation" and b'"url"' in bytes(params):
        mode = msgspec.json.decode(params).get("mode", "form")
        if mode == "url" and "url" not in declared:
            raise ClientCannot("the client did not declare URL elicitation", capability="elicitation.url")


def passes_level(params: Mapping[str, Raw], wanted: str | None) -> bool:
    """Whether a log message is at least as severe as the client wants (None: everything)."""
    level = decoded(params, "level", str)
    return wanted is None or (level in LEVELS and wanted in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted))
