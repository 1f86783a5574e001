"""Patterns of permissions: which names they match, and whether one covers another or has names in common with it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from toolway.plugin import globs

ANYTHING = "*"
_UNUSED = "\0"
"""A character that no name and no pattern has: what a pattern matches in its place, it matches for any text."""


class Patterns:
    """Many patterns, matched as quickly as their shape allows: names and beginnings need no regular expression."""

    def __init__(self, patterns: Iterable[str]) -> None:
        every = frozenset(patterns)
        self._any = ANYTHING in every
        self._names = frozenset(each for each in every if ANYTHING not in each)
        self._beginnings = tuple(sorted(each[:-1] for each in every if _is_beginning(each)))
        self._others = [_compiled(each) for each in sorted(every) if ANYTHING in each and not _is_beginning(each)]

    def match(self, name: str) -> bool:
        """Whether one of them matches the whole name."""
        if self._any or name in self._names or name.startswith(self._beginnings):
            return True
        return any(each.match(name) is not None for each in self._others)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches the whole name."""
    return _compiled(pattern).match(name) is not None


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` matches every name that `narrow` matches.

    It does if it matches `narrow` with a character in place of each `*` that `wide` can match only with a `*`.
    """
    return matches(wide, narrow.replace(ANYTHING, _UNUSED))


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both match.

    `reached` are the positions in `other` at which what was read of `one` can end.
    """
    reached = _with_stars(other, {0})
    for character in one:
        if character == ANYTHING:
            reached = set(range(min(reached), len(other) + 1)) if reached else reached
        else:
            stepped = {at + 1 for at in reached if at < len(other) and other[at] == character}
            reached = stepped | {at for at in reached if at < len(other) and other[at] == ANYTHING}
        reached = _with_stars(other, reached)
    return len(other) in reached


def _with_stars(pattern: str, reached: set[int]) -> set[int]:
    """The positions, and those behind a `*`, which may match nothing."""
    found = set(reached)
    for at, character in enumerate(pattern):
        if character == ANYTHING and at in found:
            found.add(at + 1)
    return found


def _is_beginning(pattern: str) -> bool:
    return pattern.endswith(ANYTHING) and ANYTHING not in pattern[:-1]


@lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return globs((pattern,))
