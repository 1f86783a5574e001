"""Where eras differ: `_meta`, mirrored headers, results and errors become those of the other side's era."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from toolway import __version__
from toolway.errors import ClientCannot, UpstreamProtocol
from toolway.hookspecs.routing import Call, ClientProfile, Era, RpcFault
from toolway.mcp import versions
from toolway.mcp.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND_LEGACY, URL_ELICITATION_LEGACY
from toolway.mcp.headers import HeaderMap, x_mcp_header_map
from toolway.mcp.messages import split_meta

SERVER_INFO = {"name": "toolway", "title": "Toolway", "version": __version__}
LEGACY_LEVEL = "info"
"""For legacy clients that never said which log messages they want: those that the server thinks fit."""

T = TypeVar("T")
PROGRESS = "progressToken"
NOT_PASSED = frozenset({PROGRESS, *versions.CLIENT_KEYS})
"""Keys of a client's `_meta` that never go to an upstream as they are."""
_BRIDGED_EXTENSIONS = frozenset({"io.modelcontextprotocol/ui"})


class _Tool(msgspec.Struct, rename="camel"):
    input_schema: Any = None
    annotations: dict[str, Any] | None = None


@lru_cache(maxsize=4096)
def tool_facts(raw: bytes) -> tuple[HeaderMap, bool]:
    """Of a tool's list entry: which arguments headers mirror, and whether calling it again changes nothing.

    The latter is what readOnlyHint and idempotentHint say.
    """
    tool = msgspec.json.decode(raw, type=_Tool)
    hints = tool.annotations or {}
    repeatable = bool(hints.get("readOnlyHint")) and bool(hints.get("idempotentHint", hints.get("readOnlyHint")))
    return x_mcp_header_map(tool.input_schema), repeatable


def annotations_allow_repeat(call: Call) -> bool:
    """Whether the tool says that calling it again changes nothing."""
    item = call.target.item if call.target is not None else None
    return call.method == "tools/call" and item is not None and tool_facts(item.raw)[1]


def outgoing_meta(call: Call, introduction: dict[str, Raw]) -> dict[str, Raw]:
    """`_meta` of an outgoing request: the client's own keys, and what it says about itself to modern upstreams."""
    own = call.meta.items()
    meta = {key: value for key, value in own if key != PROGRESS and not key.startswith(versions.META_PREFIX)}
    return {**meta, **introduction, **call.outgoing_meta}


def introduction(client: ClientProfile) -> dict[str, Raw]:
    """What the client says about itself in `_meta` of requests to modern upstreams; encoded once per profile."""
    level = client.log_level or (LEGACY_LEVEL if client.era == "legacy" else None)
    said = {
        versions.CLIENT_CAPABILITIES_KEY: _bridged(client.capabilities),
        versions.CLIENT_INFO_KEY: client.info or SERVER_INFO,
        **({versions.LOG_LEVEL_KEY: level} if level is not None else {}),
    }
    return {key: Raw(msgspec.json.encode(value)) for key, value in said.items()}


def _bridged(capabilities: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in capabilities.items() if key not in ("tasks", "extensions")}
    extensions = capabilities.get("extensions")
    if isinstance(extensions, dict) and (known := {k: v for k, v in extensions.items() if k in _BRIDGED_EXTENSIONS}):
        kept["extensions"] = known
    return kept


def modern_result(result: Raw, method: str, era: Era, *, shared: bool) -> Raw:
    """With what the modern era requires, and private unless everybody sees the same; values stay byte for byte."""
    if era == "modern" and (shared or b'"cacheScope"' not in bytes(result)):
        return result
    fields: dict[str, Any] = read(result, dict[str, Raw])
    if era == "legacy":
        own, meta = split_meta(fields)
        fields = {"resultType": "complete", **own, "_meta": {versions.SERVER_INFO_KEY: SERVER_INFO, **(meta or {})}}
        if method == "resources/read":
            fields.update(ttlMs=0, cacheScope="private")
    else:
        fields["cacheScope"] = "private"
    return Raw(msgspec.json.encode(fields))


def modern_fault(fault: RpcFault) -> RpcFault:
    """With the code that the modern era has for it."""
    if fault.code == RESOURCE_NOT_FOUND_LEGACY:
        return msgspec.structs.replace(fault, code=INVALID_PARAMS)
    return fault


def url_questions(fault: RpcFault, client: ClientProfile) -> dict[str, Any] | None:
    """The legacy error -32042 as the modern question that it stands for (MCP 2025-11-25, elicitation)."""
    if fault.code != URL_ELICITATION_LEGACY:
        return None
    if "url" not in (client.capabilities.get("elicitation") or {}):
        raise ClientCannot("the tool needs URL elicitation", capability="elicitation.url")
    data = {} if fault.data is UNSET else read(fault.data, dict[str, Any])
    wanted = read(Raw(msgspec.json.encode(data.get("elicitations", []))), list[dict[str, Any]])
    params = [{key: value for key, value in entry.items() if key != "elicitationId"} for entry in wanted]
    return {f"url{number}": {"method": "elicitation/create", "params": each} for number, each in enumerate(params)}


def read(raw: Raw, expected: type[T]) -> T:
    """Part of an upstream's answer; raises UpstreamProtocol when it has another shape."""
    try:
        return msgspec.json.decode(raw, type=expected)
    except msgspec.DecodeError:
        raise UpstreamProtocol("the upstream's answer does not have the shape that MCP demands") from None
