"""Token buckets in memory, one number each: the generic cell rate algorithm.

A bucket is the time at which it would be full again; it is full when that has passed, and admits a call while it is
not further away than the whole bucket takes to fill (ATM Forum TM 4.0, section 4.4.2: virtual scheduling).
"""

from __future__ import annotations

from collections import OrderedDict

TOLERANCE = 1e-3
"""Of an interval: what sums of floating point numbers may be wrong by. It does not add up."""


class Buckets:
    """The buckets of one rule; of more than `most` keys those that were asked for longest ago are full again."""

    def __init__(self, interval: float, burst: int, most: int) -> None:
        self.full_at: OrderedDict[str, float] = OrderedDict()
        self._whole = (interval, burst)
        self._most = most
        self.share(1)

    def share(self, nodes: int) -> None:
        """Fill with one of so many parts of the rate from now on."""
        interval, burst = self._whole
        self.interval = interval * nodes
        self._span = max(1.0, burst / nodes) * self.interval + self.interval * TOLERANCE

    def take(self, key: str, now: float) -> float:
        """Take a token: 0, or the seconds until there is one (then none is taken)."""
        full_at, interval = self.full_at, self.interval
        known = full_at.get(key)
        at = (known if known is not None and known > now else now) + interval
        if at - now > self._span:
            return at - now - self._span
        full_at[key] = at
        if known is not None:
            full_at.move_to_end(key)
        elif len(full_at) > self._most:
            full_at.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """A token that was taken was not used."""
        if key in self.full_at:
            self.full_at[key] -= self.interval

    def left(self, key: str, now: float) -> int:
        """Tokens that are there."""
        missing = self.full_at.get(key, now) - now
        left = int((self._span - missing if missing > 0.0 else self._span) / self.interval)
        return max(0, left)

    def emptiest(self, now: float, most: int) -> list[tuple[str, int]]:
        """Who has the fewest tokens, and how many; without those who have all."""
        busy = [(at, key) for key, at in self.full_at.items() if at > now]
        return [(key, self.left(key, now)) for _, key in sorted(busy, reverse=True)[:most]]
