"""Which items a server selects: glob patterns over canonical names, where `*` matches anything, `/` included."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for all patterns; only `*` is special. No pattern at all matches nothing."""
    literal = (re.sub(r"([\[?])", r"[\1]", pattern) for pattern in patterns)
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in literal) or r"(?!)")


class Selection:
    """The include and exclude patterns of one server; exclusion wins over inclusion."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        include, exclude = tuple(include), tuple(exclude)
        self._included, self._excluded = _compiled(include), _compiled(exclude)
        self._begun = _compiled(pattern[:end] for pattern in include for end in range(1, len(pattern) + 1))
        self._covered = _compiled(pattern for pattern in exclude if pattern.endswith("*"))

    def excludes(self, canonical: str) -> bool:
        """Whether an exclude pattern matches."""
        return self._excluded.match(canonical) is not None

    def selects(self, canonical: str) -> bool:
        """Whether the item `upstream/name` is part of the server."""
        return self._included.match(canonical) is not None and not self.excludes(canonical)

    def reaches(self, upstream: str) -> bool:
        """Whether some item of the upstream could be selected, whatever it is called."""
        prefix = f"{upstream}/"
        return self._begun.match(prefix) is not None and self._covered.match(prefix) is None
