"""A rule in action: its counters, and what is said to whom it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from toolway.plugin import RateLimited
from toolway_rate_limit.buckets import Buckets
from toolway_rate_limit.leases import Leases
from toolway_rate_limit.selection import Claim, Keys, counted, selects
from toolway_rate_limit.settings import RateLimitSettings, RuleSettings
from toolway_rate_limit.shared_store import SharedStore
from toolway_rate_limit.slots import Slots

Taken = list[tuple[Buckets | Leases, str]]
Held = list[tuple[Slots, str]]

NOT_EARLIER = 1.0
"""Seconds to wait for a place among the calls in flight; nobody knows when one is free."""


class Limit(msgspec.Struct, eq=False):
    """`claims` is None when every call is counted; `refused` counts since the start, `told` hears of each refusal.

    Where it `is_personal`, callers hear what is left for them: `policy` is what they then hear of the rule, and
    `begins` how that begins which they hear of their count.
    """

    rule: RuleSettings
    claims: Claim | None
    keys: Keys
    buckets: Buckets | Leases | None
    slots: Slots | None
    is_personal: bool = False
    policy: str = ""
    begins: str = ""
    refused: int = 0
    told: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, rule: RuleSettings, settings: RateLimitSettings, store: SharedStore | None) -> Limit:
        """The rule, with nothing counted yet."""
        buckets: Buckets | Leases | None = None
        if rule.rate is not None:
            size = (rule.rate.interval, rule.most, settings.keys)
            buckets = Buckets(*size) if store is None else Leases(store, rule.name, *size)
        slots = Slots(rule.concurrent) if rule.concurrent is not None else None
        is_personal = settings.headers and rule.is_personal and rule.rate is not None
        return cls(
            rule, selects(rule), counted(rule.by), buckets, slots, is_personal, _policy(rule), f'"{rule.name}";r='
        )

    def take(self, key: str, now: float, taken: Taken, held: Held) -> bool:
        """Count a call; False when that has to be asked for. Raises RateLimited."""
        buckets = self.buckets
        if buckets is not None:
            wait = buckets.take(key, now)
            if wait < 0.0:
                return False
            if wait > 0.0:
                raise self.too_often(wait)
            taken.append((buckets, key))
        if self.slots is not None:
            self._hold(self.slots, key, held)
        return True

    async def ask(self, key: str, taken: Taken, held: Held) -> None:
        """Count a call after asking the store; raises RateLimited."""
        if isinstance(self.buckets, Leases):
            wait, counter = await self.buckets.ask(key)
            if wait > 0.0:
                raise self.too_often(wait)
            taken.append((counter, key))
        if self.slots is not None:
            self._hold(self.slots, key, held)

    def too_often(self, wait: float) -> RateLimited:
        """What a call is refused with that would have to wait for a token; RateLimit fields are those of the draft.

        See draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
        """
        self._count()
        rule, seconds = self.rule, math.ceil(wait)
        words = rule.rate.words if rule.rate is not None else ""
        fields = {"ratelimit-policy": self.policy, "ratelimit": f'"{rule.name}";r=0;t={seconds}'}
        what = f"rule {rule.name!r} allows {words}{self._whose()}; try again in {seconds} s"
        return RateLimited(what, retry_after=round(wait, 3), limits=fields)

    def left(self, keys: Sequence[str], now: float) -> str:
        """What the caller has left, as a member of `RateLimit`; of several counts the fewest, which is what matters."""
        buckets = self.buckets
        if buckets is None:
            return ""
        left = buckets.left(keys[0], now) if len(keys) == 1 else min([buckets.left(key, now) for key in keys])
        return f"{self.begins}{left}" if left else f"{self.begins}0;t={math.ceil(buckets.interval)}"

    def too_many(self) -> RateLimited:
        """What a call is refused with that is one too many in flight."""
        self._count()
        rule = self.rule
        fields = {
            "ratelimit-policy": f'"{rule.name}";q={rule.concurrent};qu="concurrent-requests"',
            "ratelimit": f'"{rule.name}";r=0',
        }
        what = f"rule {rule.name!r} allows {rule.concurrent} at once{self._whose()}; try again when one is answered"
        return RateLimited(what, retry_after=NOT_EARLIER, limits=fields)

    def _count(self) -> None:
        self.refused += 1
        self.told()

    def _hold(self, slots: Slots, key: str, held: Held) -> None:
        if not slots.take(key):
            raise self.too_many()
        held.append((slots, key))

    def _whose(self) -> str:
        return "" if self.rule.by == ("global",) else f" for each {' and '.join(self.rule.by)}"


def _policy(rule: RuleSettings) -> str:
    return f'"{rule.name}";q={rule.rate.calls};w={rule.rate.window}' if rule.rate is not None else ""
