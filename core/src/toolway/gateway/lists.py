"""List results, encoded once per snapshot, server, era and visibility, and their sealed cursors."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import Raw

from toolway.catalog.snapshot import ITEM_KINDS, ServerView, Snapshot
from toolway.gateway.access import Access
from toolway.gateway.translate import SERVER_INFO
from toolway.hookspecs.auth import ANONYMOUS, Principal
from toolway.hookspecs.catalog import Exposed
from toolway.hookspecs.routing import Era, ItemKind
from toolway.mcp.errors import INVALID_PARAMS, RpcError
from toolway.mcp.versions import SERVER_INFO_KEY
from toolway.plugin.kernel import Seal

LIST_METHODS: dict[str, tuple[ItemKind, str]] = {
    "tools/list": ("tool", "tools"),
    "prompts/list": ("prompt", "prompts"),
    "resources/list": ("resource", "resources"),
    "resources/templates/list": ("template", "resourceTemplates"),
}
ACTIONS: dict[ItemKind, str] = {
    "tool": "tools:call",
    "prompt": "prompts:get",
    "resource": "resources:read",
    "template": "resources:read",
}
CONCEALED: dict[ItemKind, str] = {"prompt": "prompts", "resource": "resources", "template": "resources"}
CACHED_PAGES = 512
LIST_TTL_MS = 5_000
PURPOSE = "cursor"


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins: after the item `last`, in the same list as the same class of principals sees it."""

    method: str
    server: str
    visibility: str
    last: str


class Lists(msgspec.Struct, eq=False):
    """Answers the list methods from the snapshot."""

    access: Access
    seal: Seal
    page_size: int
    pages: OrderedDict[tuple[object, ...], Raw] = msgspec.field(default_factory=OrderedDict)

    def page(
        self, snapshot: Snapshot, view: ServerView, method: str, era: Era, principal: Principal, params: dict[str, Raw]
    ) -> Raw:
        """The encoded result; raises RpcError -32602 for a cursor that is not of this list."""
        visibility = self.visibility(view, principal)
        after = self._after(method, view.settings.name, visibility, params.get("cursor"))
        key = (snapshot.number, view.settings.name, method, era, visibility, after)
        if snapshot.servers.get(view.settings.name) is not view:  # it was replaced while the request came in
            return self._encode(view, method, era, principal, visibility, after)
        if (known := self.pages.get(key)) is not None:
            self.pages.move_to_end(key)
            return known
        known = self.pages[key] = self._encode(view, method, era, principal, visibility, after)
        if len(self.pages) > CACHED_PAGES:
            self.pages.popitem(last=False)
        return known

    def instructions(self, view: ServerView, principal: Principal) -> dict[str, str]:
        """`instructions` of the server, else of the upstreams of which the principal may use something, if any."""
        text = view.settings.instructions
        if not text and view.instructions:
            usable = {one.item.upstream for kind in ITEM_KINDS for one in self.visible(view, kind, principal)}
            text = "\n\n".join(each for upstream, each in view.instructions.items() if upstream in usable)
        return {"instructions": text} if text else {}

    def capabilities(self, view: ServerView, principal: Principal) -> dict[str, Any]:
        """What the server offers, but for prompts or resources when it has some and the principal may use none."""
        listed = {name for kind, name in CONCEALED.items() if view.listed(kind)}
        hidden = listed - {name for kind, name in CONCEALED.items() if self.visible(view, kind, principal)}
        if hidden >= view.capabilities.keys() & {*CONCEALED.values()}:
            hidden.add("completions")
        return {name: value for name, value in view.capabilities.items() if name not in hidden}

    def visible(self, view: ServerView, kind: ItemKind, principal: Principal) -> list[Exposed]:
        """The items of a server that the principal may use."""
        allowed, action = self.access.allowed, ACTIONS[kind]
        return [item for item in view.listed(kind) if allowed(principal, action, item.resource)]

    def may_use(self, view: ServerView, kind: ItemKind, upstream: str, name: str, principal: Principal) -> bool:
        """Whether the principal may use this item on this server, listed or not."""
        return self.access.allowed(principal, ACTIONS[kind], view.about(upstream, f"{upstream}/{name}"))

    def visibility(self, view: ServerView, principal: Principal) -> str:
        """Equal keys mean equal lists of this server."""
        return self.access.visibility(principal, view.settings.name, is_for_all=view.is_for_all)

    def fields(self, view: ServerView) -> dict[str, Any]:
        """What a modern result adds: type, lifetime and scope of the copy a client may keep, who answered."""
        shared = view.settings.access == "public" and not self.visibility(view, ANONYMOUS).strip("|")
        return {
            "resultType": "complete",
            "ttlMs": LIST_TTL_MS,
            "cacheScope": "public" if shared else "private",
            "_meta": {SERVER_INFO_KEY: SERVER_INFO},
        }

    def _encode(
        self, view: ServerView, method: str, era: Era, principal: Principal, visibility: str, after: str | None
    ) -> Raw:
        kind, field = LIST_METHODS[method]
        items = self.visible(view, kind, principal)
        start = 0 if after is None else bisect.bisect_right([item.name for item in items], after)
        page = items[start : start + self.page_size]
        result: dict[str, Any] = {field: [Raw(item.raw) for item in page]}
        if start + len(page) < len(items):
            cursor = Cursor(method, view.settings.name, visibility, page[-1].name)
            result["nextCursor"] = self.seal.seal(PURPOSE, msgspec.msgpack.encode(cursor))
        if era == "modern":
            result.update(self.fields(view))
        return Raw(msgspec.json.encode(result))

    def _after(self, method: str, server: str, visibility: str, raw: Raw | None) -> str | None:
        if raw is None or bytes(raw) == b"null":
            return None
        try:
            payload = self.seal.open(PURPOSE, msgspec.json.decode(raw, type=str))
            cursor = msgspec.msgpack.decode(payload or b"", type=Cursor)
        except msgspec.DecodeError:
            raise _bad_cursor() from None
        if (cursor.method, cursor.server, cursor.visibility) != (method, server, visibility):
            raise _bad_cursor()
        return cursor.last


def _bad_cursor() -> RpcError:
    return RpcError(INVALID_PARAMS, "the cursor is not one of this list; start again without a cursor")
