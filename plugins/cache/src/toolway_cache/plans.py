"""What is to be done with calls of an item: its rule, and what the item says of itself; looked up once for each."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Literal

import msgspec

from toolway.hookspecs.routing import Call, Item, Target
from toolway.plugin import globs
from toolway_cache.settings import CacheSettings, Lifetimes, RuleSettings

REMEMBERED = 10_000

Kind = Literal["keep", "pass", "write"]


class Plan(msgspec.Struct, eq=False):
    """`kind` says whether results are kept, are not, or make others invalid.

    `ttl` is in seconds; one that is `fixed` holds whatever the upstream says. That results `is_shared` is what the
    operator says, `is_public` what the upstream said last.
    """

    kind: Kind
    item: Item | None = None
    ttl: float = 0.0
    fixed: bool = False
    is_shared: bool = False
    is_public: bool = False


class _Annotations(msgspec.Struct, rename="camel"):
    read_only_hint: bool = False


class _Tool(msgspec.Struct):
    annotations: _Annotations | None = None


class Plans:
    """The plan of each item that is called; of more than `REMEMBERED` those that were asked for longest ago go."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._rules = [(globs(rule.items), rule) for rule in settings.rules]
        self._known: OrderedDict[tuple[str, str, str], Plan] = OrderedDict()

    def of(self, call: Call, target: Target) -> Plan:
        """The plan for this call; made anew when its item changed."""
        key = (call.method, target.upstream, target.name)
        plan = self._known.get(key)
        if plan is None or plan.item is not target.item:
            plan = self._known[key] = self._made(call.method, target)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return plan

    def _made(self, method: str, target: Target) -> Plan:
        name, item = f"{target.upstream}/{target.name}", target.item
        rule = next((rule for pattern, rule in self._rules if pattern.fullmatch(name)), _NO_RULE)
        if method == "tools/call" and not _only_reads(rule, item):
            return Plan("write" if self._settings.writes_invalidate else "pass", item)
        ttl = _default(self._settings.ttl, method) if rule.ttl is None else rule.ttl
        may_say = method == "resources/read" and rule.ttl is None and not ttl
        kind: Kind = "keep" if ttl or may_say else "pass"
        return Plan(kind, item, ttl, rule.override and rule.ttl is not None, rule.share)


_NO_RULE = RuleSettings(items=("*",))


def _default(lifetimes: Lifetimes, method: str) -> float:
    return {"tools/call": lifetimes.tools, "resources/read": lifetimes.resources}.get(method, lifetimes.prompts)


def _only_reads(rule: RuleSettings, item: Item | None) -> bool:
    if rule.read_only is not None:
        return rule.read_only
    return item is not None and _says_read_only(item.raw)


@lru_cache(4096)
def _says_read_only(raw: bytes) -> bool:
    try:
        annotations = msgspec.json.decode(raw, type=_Tool).annotations
    except msgspec.DecodeError:
        return False
    return annotations is not None and annotations.read_only_hint
