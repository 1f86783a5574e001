"""Exports of mcp-context-forge: its gateways are upstreams, its servers are servers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from toolway.plugin import InvalidInput
from toolway_transfer.foreign.reading import Foreign, own_name, text

SECRET = "AUTH_ENCRYPTION_SECRET"  # noqa: S105 - the name of the setting there
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27}")
_OTHERS = ("tools", "prompts", "resources", "roots")


def context_forge(entities: Mapping[str, Any], inputs: Mapping[str, str]) -> Foreign:
    """Upstreams and servers; the notes say what has no place here."""
    found = Foreign("mcp-context-forge")
    names: dict[str, str] = {}
    for gateway in _tables(entities, "gateways"):
        given = text(gateway, "name")
        names[own_name(given, ())] = found.add(given, lambda gateway=gateway: _upstream(gateway, inputs))  # type: ignore[misc]
    for server in _tables(entities, "servers"):
        _add_server(found, server, names)
    for kind in _OTHERS:
        if count := sum(1 for _ in _tables(entities, kind)):
            found.notes.append(
                f"{count} {kind} of the gateway itself were left out; only those of MCP servers exist here"
            )
    return found


def _upstream(gateway: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    url = text(gateway, "url")
    if not url:
        raise InvalidInput("it has no url")
    description = gateway["description"] if gateway.get("description") else ""
    made: dict[str, Any] = {
        "kind": "http",
        "endpoints": [url],
        "description": text({"description": description}, "description")[:1000],
    }
    if gateway.get("is_active") is False:
        made["enabled"] = False
    if gateway.get("auth_type") == "oauth":
        raise InvalidInput("it signs in with OAuth; register it by hand, with auth of that type")
    if sealed := text(gateway, "auth_value"):
        made["headers"] = _headers(sealed, inputs)
    return made


def _headers(sealed: str, inputs: Mapping[str, str]) -> dict[str, str]:
    """The headers that are encrypted there: AES-GCM with the SHA-256 of the secret, after a nonce of 12 bytes."""
    if SECRET not in inputs:
        raise InvalidInput(f"its credential is encrypted; give the secret of that gateway with --input {SECRET}=VALUE")
    try:
        raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        opened = AESGCM(hashlib.sha256(inputs[SECRET].encode()).digest()).decrypt(raw[:12], raw[12:], None)
        return msgspec.json.decode(opened, type=dict[str, str])
    except (InvalidTag, ValueError, msgspec.MsgspecError):
        raise InvalidInput(f"its credential does not open with that {SECRET}; give the one of that gateway") from None


def _add_server(found: Foreign, server: Mapping[str, Any], gateways: Mapping[str, str]) -> None:
    """A server shows tools by names such as `billing-get-invoice`, which begin with their gateway's."""
    given = text(server, "name")
    listed = server.get("tool_ids")
    tools = [each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, str)]
    include = [pattern for tool in tools for pattern in _patterns(tool, gateways)]
    if not include:
        reason = "its tools are named by ids that the file does not explain" if tools else "it has no tools"
        found.notes.append(f"the server {given!r} was left out: {reason}; make it by hand")
        return
    name = own_name(given, [each["name"] for each in found.servers])
    found.servers.append({"name": name, "description": text(server, "description")[:1000], "include": include})


def _patterns(tool: str, gateways: Mapping[str, str]) -> list[str]:
    """Names there have dashes in place of everything else."""
    if _ID.fullmatch(tool):
        return []
    fitting = [slug for slug in gateways if tool.startswith(f"{slug}-")]
    if not fitting:
        return []
    longest = max(fitting, key=len)
    return [f"{gateways[longest]}/{tool.removeprefix(f'{longest}-').replace('-', '*')}"]


def _tables(entities: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    found = entities.get(kind)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
