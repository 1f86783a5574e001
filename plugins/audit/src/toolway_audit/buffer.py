"""What happened and is not written down yet; what does not fit is counted, at the place where it is missing."""

from __future__ import annotations

from collections import deque

import msgspec

from toolway_audit.writing import Event

GAP = "audit.gap"
"""The action of the record that stands for what is missing."""


class Gap(msgspec.Struct):
    """What is missing between two records: how many were not kept, and how many calls were refused because of that."""

    since: float
    until: float
    lost: int = 0
    refused: int = 0

    def event(self) -> Event:
        """The record that stands for them."""
        counted = {"lost": self.lost, "refused": self.refused, "seconds": round(self.until - self.since, 3)}
        return Event(self.since, GAP, "audit", "lost" if self.lost else "refused", details=counted)


class Buffer:
    """Holds at most `limit` events, with those that are being written and those that calls under way will make."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Event | Gap] = deque()
        self._gap: Gap | None = None
        self._size = 0
        self.lost = 0
        self.refused = 0
        self.expected = 0

    def __len__(self) -> int:
        """Events that wait or are being written."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether an event would be lost."""
        return self._size >= self._limit

    @property
    def is_promised(self) -> bool:
        """Whether calls under way could fill it."""
        return self._size + self.expected > self._limit

    def add(self, event: Event) -> None:
        """Keep it, or count it when there is no room."""
        if self.is_full:
            self.lose(event.at)
            return
        self._gap = None
        self._size += 1
        self._waiting.append(event)

    def lose(self, at: float) -> None:
        """Count an event that is not kept."""
        self._missing(at).lost += 1
        self.lost += 1

    def refuse(self, at: float) -> None:
        """Count a call that was refused because there was no room for its record."""
        self._missing(at).refused += 1
        self.refused += 1

    def take(self, count: int) -> list[Event]:
        """The oldest, to be written; they take up room until they are `written`."""
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        if not self._waiting:
            self._gap = None
        return [each.event() if isinstance(each, Gap) else each for each in taken]

    def written(self, events: int) -> None:
        """So many are in the trail; records of gaps do not count."""
        self._size -= events

    def _missing(self, at: float) -> Gap:
        if self._gap is None:
            self._gap = Gap(at, at)
            self._waiting.append(self._gap)
        self._gap.until = at
        return self._gap
