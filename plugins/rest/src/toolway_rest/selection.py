"""Which operations of a document become tools: patterns over operationId, tag, path and method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from toolway.plugin import globs

PLACES = ("tag", "path", "method", "id")


def check_pattern(pattern: str) -> None:
    """Raise ValueError for a pattern that can match nothing or begins with an unknown word."""
    place, rest = _parts(pattern)
    if not rest or len(rest) > 256:
        raise ValueError(f"pattern {pattern[:80]!r} must have 1 to 256 characters after its place")
    if ":" in rest and place == "id":
        raise ValueError(f"pattern {pattern[:80]!r} must begin with one of: tag:, path:, method:, id:, or none of them")


def selected(
    include: Sequence[str], exclude: Sequence[str], name: str, tags: Iterable[str], path: str, method: str
) -> bool:
    """Whether an operation becomes a tool: some pattern of `include` matches it and none of `exclude`."""
    values = {"id": (name,), "tag": tuple(tags), "path": (path,), "method": (method,)}

    def matches(pattern: str) -> bool:
        place, rest = _parts(pattern)
        return any(_expression(rest).match(value.lower()) for value in values[place])

    return any(map(matches, include)) and not any(map(matches, exclude))


def _parts(pattern: str) -> tuple[str, str]:
    place, colon, rest = pattern.partition(":")
    return (place, rest) if colon and place in PLACES else ("id", pattern)


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    """Case does not matter."""
    return globs([pattern.lower()])
