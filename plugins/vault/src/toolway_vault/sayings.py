"""Values that came from Vault, or that it gave the gateway to log in with: they must not be told."""

from __future__ import annotations

import json

REDACTED = "[redacted]"
SHORTEST = 6
"""Shorter ones would blot out ordinary words; the gateway has the same bound."""
REMEMBERED = 10_000


class Unsaid:
    """Remembers values, the last ones, and removes them from texts."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}

    def add(self, *values: str) -> None:
        """Do not tell these, as they are or as Python and JSON write them in quotation marks."""
        for value in {form for each in values for form in _forms(each)}:
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


def _forms(value: str) -> set[str]:
    """The value, and in quotation marks twice: what is logged as JSON was often written by `repr` before."""
    found = {value, repr(value)[1:-1], repr(f'"{value}')[2:-1], repr(value.encode(errors="replace"))[2:-1]}
    for is_ascii in (True, False):
        found |= {json.dumps(each, ensure_ascii=is_ascii)[1:-1] for each in found}
    return found
