"""What is to be dropped: by news of upstreams, by calls that change something, by hand; on every node."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from toolway.plugin import globs
from toolway_cache.entries import Entry
from toolway_cache.kept import Kept

LISTS = {
    "notifications/tools/list_changed": "tools/call",
    "notifications/prompts/list_changed": "prompts/get",
    "notifications/resources/list_changed": "resources/read",
    "notifications/resources/updated": "resources/read",
}
"""What may be old after which notification of an upstream."""


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """Drop the copies of these upstreams that match all that is named; `by` says which gateway gave the order.

    One with an `ask` is answered with the number of copies that went. `items` is a pattern over `upstream/item`, `key`
    the first characters of the key, in hexadecimal.
    """

    upstreams: tuple[str, ...]
    server: str = ""
    method: str = ""
    name: str = ""
    items: str = ""
    key: str = ""
    by: str = ""
    ask: str = ""

    @classmethod
    def of_news(cls, upstream: str, method: str, uri: str) -> Order | None:
        """What a notification asks for; None if nothing."""
        what = LISTS.get(method)
        return None if what is None else cls((upstream,), method=what, name=uri)

    def apply(self, kept: Kept) -> int:
        """Drop them; how many there were."""
        matches = self._matches()
        return sum(kept.drop(upstream, matches) for upstream in self.upstreams)

    def _matches(self) -> Callable[[Entry], bool] | None:
        if not (self.server or self.method or self.name or self.items or self.key):
            return None
        items: re.Pattern[str] = globs([self.items or "*"])
        return lambda entry: (
            self.server in ("", entry.server)
            and self.method in ("", entry.method)
            and self.name in ("", entry.name)
            and entry.key.hex().startswith(self.key)
            and items.fullmatch(f"{entry.upstream}/{entry.name}") is not None
        )
