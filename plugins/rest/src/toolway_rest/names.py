"""Names of tools and arguments: what the function-calling interfaces of models accept, each given once."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 64
"""Characters of a name."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


class Names:
    """The names that were given so far."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}

    def is_free(self, name: str) -> bool:
        """Whether `fit` would need no number."""
        return _clean(name) not in self._taken

    def fit(self, name: str) -> str:
        """A name of `[A-Za-z0-9_.-]` that was not taken, and now is: with a number where another has it."""
        unique = clean = _clean(name)
        begins = clean[: LONGEST - 8]
        while unique in self._taken:
            number = self._numbers[begins] = self._numbers.get(begins, 1) + 1
            unique = f"{clean[: LONGEST - len(str(number)) - 1]}_{number}"
        self._taken.add(unique)
        return unique


def _clean(name: str) -> str:
    return _FOREIGN.sub("_", name[: 4 * LONGEST]).strip("_")[:LONGEST] or "_"
