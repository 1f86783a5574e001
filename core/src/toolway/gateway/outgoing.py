"""What goes to an upstream with a call: `_meta` of its era, mirrored headers, whether repeating is safe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Call, Era
from toolway.mcp.headers import HeaderMap, mcp_param_headers, x_mcp_header_map
from toolway.mcp.versions import CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY, META_PREFIX

LEGACY_LEVEL = "info"
"""For legacy clients that never said which log messages they want: those that the server thinks fit."""

_BRIDGED_EXTENSIONS = frozenset({"io.modelcontextprotocol/ui"})


class _Tool(msgspec.Struct, rename="camel"):
    input_schema: Any = None
    annotations: dict[str, Any] | None = None


@lru_cache(maxsize=4096)
def _tool(raw: bytes) -> tuple[HeaderMap, bool]:
    tool = msgspec.json.decode(raw, type=_Tool)
    hints = tool.annotations or {}
    repeatable = bool(hints.get("readOnlyHint")) and bool(hints.get("idempotentHint", hints.get("readOnlyHint")))
    return x_mcp_header_map(tool.input_schema), repeatable


def annotations_allow_repeat(call: Call) -> bool:
    """Whether the tool says that calling it again changes nothing (readOnlyHint and idempotentHint)."""
    target = call.target
    return call.method == "tools/call" and target is not None and target.item is not None and _tool(target.item.raw)[1]


def tool_headers(raw: bytes) -> HeaderMap:
    """Which arguments of a tool are mirrored in headers: argument path to header name."""
    return _tool(raw)[0]


def parameter_headers(call: Call) -> Mapping[str, str]:
    """`Mcp-Param-*` headers that the upstream's own schema asks for (MCP 2026-07-28, transports)."""
    target = call.target
    if call.method != "tools/call" or target is None or target.item is None:
        return {}
    wanted = _tool(target.item.raw)[0]
    return mcp_param_headers(wanted, call.arguments()) if wanted else {}


def header_name(call: Call) -> str | None:
    """What `Mcp-Name` mirrors: the upstream's own name or URI."""
    if call.method == "completion/complete" or call.target is None:
        return None
    return call.target.name


def meta_for(call: Call, era: Era, identity: Mapping[str, object]) -> dict[str, Raw]:
    """`_meta` of an outgoing request: the client's own keys; protocol keys as the upstream's era wants them."""
    meta = {
        key: value for key, value in call.meta.items() if not key.startswith(META_PREFIX) and key != "progressToken"
    }
    if era == "modern":
        meta[CLIENT_CAPABILITIES_KEY] = Raw(msgspec.json.encode(_bridged(call.client.capabilities)))
        meta[CLIENT_INFO_KEY] = Raw(msgspec.json.encode(call.client.info or identity))
        level = call.client.log_level or (LEGACY_LEVEL if call.client.era == "legacy" else None)
        if level is not None:
            meta[LOG_LEVEL_KEY] = Raw(msgspec.json.encode(level))
    meta.update(call.outgoing_meta)
    return meta


def _bridged(capabilities: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in capabilities.items() if key not in ("tasks", "extensions")}
    extensions = capabilities.get("extensions")
    if isinstance(extensions, dict) and (known := {k: v for k, v in extensions.items() if k in _BRIDGED_EXTENSIONS}):
        kept["extensions"] = known
    return kept
