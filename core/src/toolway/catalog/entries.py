"""List entries of items: decoded as far as the gateway looks inside, and encoded again as a server shows them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from toolway.hookspecs.definitions import ItemOverride
from toolway.hookspecs.routing import Discovery, Item, ItemKind

NAME_KEYS: dict[ItemKind, str] = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}
"""Which member of a list entry identifies an item of that kind."""

UI = "io.modelcontextprotocol/ui"
"""The MCP Apps extension: a tool names the resource that renders it in `_meta.ui.resourceUri`."""

_fields = msgspec.json.Decoder(dict[str, Raw])
_NO_OVERRIDE = ItemOverride()


class Entry(msgspec.Struct, frozen=True, eq=False):
    """An item with its list entry, whose members stay raw; `ui` is the URI of a tool's UI resource, else empty."""

    item: Item
    fields: dict[str, Raw]
    ui: str = ""


class Parsed(msgspec.Struct, frozen=True, eq=False):
    """The entries of one discovery, each canonical name once per kind, and what was wrong with it."""

    discovery: Discovery
    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()


def parse(discovery: Discovery) -> Parsed:
    """Decode all list entries; those that are no objects and repeated ones are left out and told in `problems`."""
    entries: dict[tuple[ItemKind, str], Entry] = {}
    problems = list(discovery.problems)
    for item in discovery.items:
        if (item.kind, item.canonical) in entries:
            problems.append(f"{item.kind} {item.canonical} is listed twice by its upstream; the first one is used")
            continue
        try:
            fields = _fields.decode(item.raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            problems.append(f"{item.kind} {item.canonical} is left out: its list entry is not a JSON object")
            continue
        entries[item.kind, item.canonical] = Entry(item, fields, _ui_resource(item, fields))
    return Parsed(discovery, tuple(entries.values()), tuple(problems))


def _ui_resource(item: Item, fields: dict[str, Raw]) -> str:
    if item.kind != "tool" or "_meta" not in fields or b"esourceUri" not in bytes(fields["_meta"]):
        return ""
    meta = _object(fields["_meta"])
    nested = _object(meta["ui"]).get("resourceUri") if "ui" in meta else None
    uri = msgspec.json.decode(nested or meta.get("ui/resourceUri") or Raw(b"null"))
    return uri if isinstance(uri, str) else ""


def render(entry: Entry, name: str, override: ItemOverride | None, ui: str) -> bytes:
    """Encode the entry with its exposed name, what the server changes, and `ui` as its UI resource if that differs."""
    override = override or _NO_OVERRIDE
    fields: dict[str, Any] = {**entry.fields, NAME_KEYS[entry.item.kind]: name}
    for key in ("title", "description"):
        if (text := getattr(override, key)) is not None:
            fields[key] = text
    if override.arguments and "inputSchema" in fields:
        fields["inputSchema"] = _without(fields["inputSchema"], override.arguments)
    if ui != entry.ui:
        fields["_meta"] = _with_ui(fields["_meta"], ui)
    return msgspec.json.encode(fields)


def _object(raw: Raw) -> dict[str, Raw]:
    """The members of a JSON object; nothing for any other value."""
    try:
        return _fields.decode(raw)
    except msgspec.ValidationError:
        return {}


def _without(schema: Raw, arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool's schema without the arguments that the operator fixed."""
    members: dict[str, Any] = dict(_object(schema))
    if "properties" in members:
        members["properties"] = {k: v for k, v in _object(members["properties"]).items() if k not in arguments}
    if "required" in members:
        required = msgspec.json.decode(members["required"])
        members["required"] = [k for k in required if k not in arguments] if isinstance(required, list) else required
    return members


def _with_ui(meta: Raw, uri: str) -> dict[str, Any]:
    """The `_meta` of a tool with its UI resource under another URI, in whichever form it was given."""
    members: dict[str, Any] = dict(_object(meta))
    if "ui" in members:
        members["ui"] = {**_object(members["ui"]), "resourceUri": uri}
    if "ui/resourceUri" in members:
        members["ui/resourceUri"] = uri
    return members
