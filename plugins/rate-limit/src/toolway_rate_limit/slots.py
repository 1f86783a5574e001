"""Calls in flight, counted by key. Their number is bounded by what the gateway lets in, so nothing is forgotten."""

from __future__ import annotations


class Slots:
    """At most so many for each key; with several nodes each of them admits its part, at least one."""

    def __init__(self, most: int) -> None:
        self.held: dict[str, int] = {}
        self._whole = self.most = most

    def share(self, nodes: int) -> None:
        """Admit one of so many parts from now on."""
        self.most = max(1, self._whole // nodes)

    def take(self, key: str) -> bool:
        """Take a place, if one is free."""
        held = self.held.get(key, 0)
        if held >= self.most:
            return False
        self.held[key] = held + 1
        return True

    def leave(self, key: str) -> None:
        """Give a place back."""
        left = self.held[key] - 1
        if left:
            self.held[key] = left
        else:
            del self.held[key]

    def fullest(self, most: int) -> list[tuple[str, int]]:
        """Who holds the most, and how many."""
        return sorted(self.held.items(), key=lambda entry: -entry[1])[:most]
