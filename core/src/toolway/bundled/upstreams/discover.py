"""Asks an upstream for everything it offers: all lists, all pages, bounded; what is left out is reported."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from toolway.bundled.upstreams.channel import raw_members
from toolway.hookspecs.routing import Discovery, Eras, Item, ItemKind, Reply
from toolway.mcp.errors import METHOD_NOT_FOUND
from toolway.mcp.headers import find_invalid_x_mcp_header
from toolway.plugin import UpstreamProtocol

log = logging.getLogger(__name__)

Ask = Callable[[str, dict[str, Raw]], Awaitable[Reply]]


class Listing(msgspec.Struct, frozen=True):
    """One list method: where it is declared, where its entries are and what names them; at most `most` are taken."""

    capability: str
    method: str
    field: str
    kind: ItemKind
    key: str
    most: int


LISTINGS = (
    Listing("tools", "tools/list", "tools", "tool", "name", 1000),
    Listing("prompts", "prompts/list", "prompts", "prompt", "name", 1000),
    Listing("resources", "resources/list", "resources", "resource", "uri", 10_000),
    Listing("resources", "resources/templates/list", "resourceTemplates", "template", "uriTemplate", 1000),
)
MAX_PAGES = 200
MAX_LIST = 64 * 1024 * 1024
"""Most bytes of the pages of one list, which are held together; the one that exceeds them is the last."""

LIMITS = {"inputSchema": 64 * 1024, "outputSchema": 64 * 1024, "description": 8 * 1024}
"""Largest members of a list entry, in bytes of JSON."""

MAX_ENTRY = 256 * 1024
"""Largest list entry, in bytes."""


class Hello(msgspec.Struct, rename="camel"):
    """The result of `server/discover` or `initialize`, as far as the gateway looks at it."""

    supported_versions: list[str] = []
    protocol_version: str = ""
    capabilities: dict[str, Raw] = {}
    server_info: Raw = Raw(b"{}")
    instructions: str | None = None
    meta: dict[str, Raw] = msgspec.field(name="_meta", default_factory=dict)


def read_hello(reply: Reply) -> Hello:
    """Read it; raises UpstreamProtocol when it is a fault or something else."""
    try:
        return msgspec.json.decode(_result(reply), type=Hello)
    except msgspec.DecodeError:
        raise UpstreamProtocol("the upstream introduced itself with something that is not MCP") from None


def _result(reply: Reply) -> Raw:
    if reply.fault is not None or reply.result is None:
        text = f"{reply.fault.message[:200]} ({reply.fault.code})" if reply.fault else "no result"
        raise UpstreamProtocol(f"the upstream answered: {text}")
    return reply.result


async def discover(upstream: str, eras: Eras, hello: Hello, ask: Ask) -> Discovery:
    """Everything the declared capabilities promise; a list that the upstream does not know is empty.

    Raises:
        UpstreamError: no answer, or not one of MCP.
    """
    items: list[Item] = []
    problems: list[str] = []
    for listing in LISTINGS:
        if listing.capability in hello.capabilities:
            entries = await _all_pages(listing, ask, problems)
            items += _taken(upstream, listing, entries, problems, modern=eras.modern is not None)
    found = tuple(f"upstream {upstream!r}: {problem}" for problem in problems)
    for problem in found:
        log.warning("%s", problem)
    capabilities = {name: _value(raw) for name, raw in hello.capabilities.items()}
    info = {name: _value(raw) for name, raw in raw_members(hello.server_info).items()}
    return Discovery(eras, capabilities, info, hello.instructions, tuple(items), found)


async def _all_pages(listing: Listing, ask: Ask, problems: list[str]) -> list[Raw]:
    entries: list[Raw] = []
    params: dict[str, Raw] = {}
    left = MAX_LIST
    for _ in range(MAX_PAGES):
        reply = await ask(listing.method, dict(params))
        if reply.fault is not None and reply.fault.code == METHOD_NOT_FOUND:
            return entries
        page = raw_members(result := _result(reply))
        entries += _entries(page.get(listing.field), listing.method)
        cursor = page.get("nextCursor")
        if cursor is None or bytes(cursor) == b"null" or len(entries) > 2 * listing.most:
            return entries
        params["cursor"] = cursor
        if (left := left - len(result)) < 0:
            break
    problems.append(f"{listing.method} has more than {MAX_PAGES} pages or {MAX_LIST} bytes; the rest is left out")
    return entries


def _taken(upstream: str, listing: Listing, entries: list[Raw], problems: list[str], *, modern: bool) -> Iterable[Item]:
    """The items of one list, each name once; why others are left out goes to `problems`, at most `most` of each."""
    items: dict[str, Item] = {}
    for position, entry in enumerate(entries):
        name, flaw = _named(listing, entry, modern=modern)
        if not flaw and name in items:
            flaw = "it is listed twice; the first one counts"
        if (position - len(items) if flaw else len(items)) >= listing.most:
            problems.append(f"there are more than {listing.most} entries in {listing.method}; the rest is left out")
            break
        if flaw:
            problems.append(f"{listing.kind} {name[:128]!r} is left out: {flaw}")
        else:
            items[name] = Item(upstream, listing.kind, name, bytes(entry))
    return items.values()


def _entries(raw: Raw | None, method: str) -> list[Raw]:
    try:
        return msgspec.json.decode(raw or b"[]", type=list[Raw])
    except msgspec.DecodeError:
        raise UpstreamProtocol(f"the upstream's answer to {method} has no list") from None


def _named(listing: Listing, entry: Raw, *, modern: bool) -> tuple[str, str]:
    """The name of a list entry, and why it is to be left out (empty: it is not)."""
    members = raw_members(entry)
    name = _value(members.get(listing.key, Raw(b"null")))
    if not isinstance(name, str) or not name:
        return "", f"it has no {listing.key}"
    for member, most in LIMITS.items():
        if len(members.get(member, Raw(b""))) > most:
            return name, f"its {member} is larger than {most} bytes"
    if len(entry) > MAX_ENTRY:
        return name, f"it is larger than {MAX_ENTRY} bytes"
    if modern and listing.kind == "tool" and b"x-mcp-header" in bytes(entry):
        return name, find_invalid_x_mcp_header(_value(members.get("inputSchema", Raw(b"{}")))) or ""
    return name, ""


def _value(raw: Raw) -> Any:
    """The decoded value; None where it is beyond what can be decoded, such as numbers out of range."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
