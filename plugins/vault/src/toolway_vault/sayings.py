"""Values that came from Vault, or that it gave the gateway to log in with: they must not be told."""

from __future__ import annotations

REDACTED = "[redacted]"
SHORTEST = 6
"""Shorter ones would blot out ordinary words; the gateway has the same bound."""
REMEMBERED = 10_000


class Unsaid:
    """Remembers values, the last ones, and removes them from texts."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}

    def add(self, *values: str) -> None:
        """Do not tell these."""
        for value in values:
            self._values.pop(value, None)
            if len(value) >= SHORTEST:
                self._values[value] = None
        while len(self._values) > REMEMBERED:
            self._values.pop(next(iter(self._values)))

    def redact(self, text: str) -> str:
        """The text without them."""
        for value in sorted((each for each in self._values if each in text), key=len, reverse=True):
            text = text.replace(value, REDACTED)
        return text
