"""One value that is tuned: when and how far it may move."""

from __future__ import annotations

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """The least and the most that a value may be."""

    low: float
    high: float

    def clamp(self, value: float) -> float:
        """The nearest value that is within."""
        return min(max(value, self.low), self.high)


class Manner(msgspec.Struct, frozen=True):
    """How a value moves: by at least this part of itself, at most once in `interval` seconds."""

    hysteresis: float = 0.2
    interval: float = 10.0


class Knob(msgspec.Struct):
    """`value` is None as long as what the operator declared is good enough. `moved` is when that changed last."""

    value: float | None = None
    moved: float = -1e9

    def wish(self, wanted: float, declared: float, bounds: Bounds, manner: Manner, now: float) -> bool:
        """Move to the wanted value, or as near as the bounds let, if it is time and worth it; whether it moved."""
        before = self.present(declared, bounds)
        after = bounds.clamp(wanted)
        if now - self.moved < manner.interval or after == before:
            return False
        if abs(after - before) < manner.hysteresis * before:
            return False
        self.value, self.moved = after, now
        return True

    def present(self, declared: float, bounds: Bounds) -> float:
        """What is to be used."""
        return declared if self.value is None else bounds.clamp(self.value)
