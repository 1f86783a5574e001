"""How long keys live."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from toolway.plugin import InvalidInput
from toolway_server_keys.durations import duration


class Lifetimes(msgspec.Struct, frozen=True):
    """Seconds: of keys that ask for none, the longest, and how long a replaced secret is accepted by default."""

    default: int
    maximum: int
    grace: int

    def asked(self, now: float, ttl: int | None, expires_at: float | None) -> int:
        """The lifetime from `now` (Unix seconds).

        Raises:
            InvalidInput: too long, not at all, or asked for in two ways.
        """
        if ttl is not None and expires_at is not None:
            raise InvalidInput("ttl and expires_at are both given; send one of them")
        if ttl is None and expires_at is None:
            return self.default
        asked = ttl if ttl is not None else int((expires_at or 0.0) - now)
        if asked <= 0:
            raise InvalidInput("expires_at is over already; give a time that is to come")
        if asked > self.maximum:
            which = "ttl" if ttl is not None else "expires_at"
            most = f"{duration(self.maximum)} (the setting max_ttl)"
            raise InvalidInput(f"{which} is longer than the maximum of {most}; ask for less")
        return asked

    def end(self, now: float, lifetime: int, bounds: Iterable[float], *, is_asked: bool) -> float:
        """When a secret ends that lives so long from `now`: at the first of the bounds (Unix seconds; 0: none) at most.

        Raises:
            InvalidInput: it was asked to live longer, or could not live at all.
        """
        end = float(math.floor(now) + lifetime)
        latest = min((bound for bound in bounds if bound), default=end)
        if end <= latest:
            return end
        until = datetime.fromtimestamp(math.floor(latest), UTC).isoformat()
        if is_asked or latest <= now:
            raise InvalidInput(
                f"a key ends with the credential that it is made with, at {until}; ask for less, or use another one"
            )
        return latest

    def again(self, lifetime: int, ttl: int | None) -> int:
        """The lifetime of the next secret of a key whose lifetime was this; raises InvalidInput when it is too long."""
        return min(lifetime, self.maximum) if ttl is None else self.asked(0.0, ttl, None)
