"""Which items a server selects: glob patterns over canonical names, where `*` matches anything, `/` included."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for all patterns; only `*` is special. No pattern at all matches nothing."""
    literal = (re.sub(r"([\[?])", r"[\1]", pattern) for pattern in patterns)
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in literal) or r"(?!)")


def _positions(pattern: str, text: str) -> set[int]:
    """Where in `pattern` a match may stand after all of `text` was read."""
    positions = {0}
    for character in text:
        positions = _behind_stars(pattern, positions)
        positions = {
            at if pattern[at] == "*" else at + 1
            for at in positions
            if at < len(pattern) and pattern[at] in ("*", character)
        }
    return positions


def _behind_stars(pattern: str, positions: set[int]) -> set[int]:
    """The positions and those reached by letting stars match nothing."""
    reached = set(positions)
    for start in positions:
        at = start
        while at < len(pattern) and pattern[at] == "*":
            at += 1
            reached.add(at)
    return reached


class Selection:
    """The include and exclude patterns of one server."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        self._include, self._exclude = tuple(include), tuple(exclude)
        self._included, self._excluded = _compiled(self._include), _compiled(self._exclude)

    def includes(self, canonical: str) -> bool:
        """Whether an include pattern matches."""
        return self._included.match(canonical) is not None

    def excludes(self, canonical: str) -> bool:
        """Whether an exclude pattern matches; exclusion wins over inclusion."""
        return self._excluded.match(canonical) is not None

    def selects(self, canonical: str) -> bool:
        """Whether the item `upstream/name` is part of the server."""
        return self.includes(canonical) and not self.excludes(canonical)

    def reaches(self, upstream: str) -> bool:
        """Whether some item of the upstream could be selected, whatever it is called."""
        prefix = f"{upstream}/"
        covered = any(
            pattern[at:].strip("*") == "" and pattern.endswith("*")
            for pattern in self._exclude
            for at in _positions(pattern, prefix)
        )
        return not covered and any(_positions(pattern, prefix) for pattern in self._include)
