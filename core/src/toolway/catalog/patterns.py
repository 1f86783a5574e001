"""Which items a server selects: glob patterns over canonical names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from toolway.patterns import globs


class Selection:
    """The include and exclude patterns of one server; exclusion wins over inclusion.

    Of the upstreams `by_name` only patterns that name them select something: those that begin with `<upstream>/`.
    """

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = (), by_name: Iterable[str] = ()) -> None:
        include, exclude, self._by_name = tuple(include), tuple(exclude), frozenset(by_name)
        named = tuple(pattern for pattern in include if "*" not in pattern.partition("/")[0])
        self._included, self._excluded = {False: globs(include), True: globs(named)}, globs(exclude)
        self._begun = {False: _begun(include), True: _begun(named)}
        self._covered = globs(pattern for pattern in exclude if pattern.endswith("*"))

    def excludes(self, canonical: str) -> bool:
        """Whether an exclude pattern matches."""
        return self._excluded.match(canonical) is not None

    def selects(self, canonical: str) -> bool:
        """Whether the item `upstream/name` is part of the server."""
        included = self._included[canonical.partition("/")[0] in self._by_name]
        return included.match(canonical) is not None and not self.excludes(canonical)

    def reaches(self, upstream: str, *, by_name: bool = False) -> bool:
        """Whether some item of the upstream, which may be one of those `by_name`, could be selected."""
        prefix = f"{upstream}/"
        return self._begun[by_name].match(prefix) is not None and self._covered.match(prefix) is None


def _begun(patterns: Iterable[str]) -> re.Pattern[str]:
    """All beginnings of the patterns."""
    return globs(pattern[:end] for pattern in patterns for end in range(1, len(pattern) + 1))
