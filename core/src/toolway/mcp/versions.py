"""Protocol versions and the reserved `_meta` keys (MCP 2026-07-28, basic)."""

from __future__ import annotations

MODERN = ("2026-07-28",)
"""Stateless versions, newest first."""

LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Versions of the handshake era, newest first."""

META_PREFIX = "io.modelcontextprotocol/"
PROTOCOL_VERSION_KEY = f"{META_PREFIX}protocolVersion"
CLIENT_CAPABILITIES_KEY = f"{META_PREFIX}clientCapabilities"
CLIENT_INFO_KEY = f"{META_PREFIX}clientInfo"
LOG_LEVEL_KEY = f"{META_PREFIX}logLevel"
SERVER_INFO_KEY = f"{META_PREFIX}serverInfo"
CLIENT_KEYS = frozenset({PROTOCOL_VERSION_KEY, CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY})
"""What clients say about themselves in each request."""

SUBSCRIPTION_ID_KEY = f"{META_PREFIX}subscriptionId"


def negotiate(requested: str) -> str:
    """The version for an `initialize`: the requested one if it is of the handshake era, else our newest of it."""
    return requested if requested in LEGACY else LEGACY[0]
