"""Which items a server selects: glob patterns over canonical names."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.patterns import compiled


class Selection:
    """The include and exclude patterns of one server; exclusion wins over inclusion."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        include, exclude = tuple(include), tuple(exclude)
        self._included, self._excluded = compiled(include), compiled(exclude)
        self._begun = compiled(pattern[:end] for pattern in include for end in range(1, len(pattern) + 1))
        self._covered = compiled(pattern for pattern in exclude if pattern.endswith("*"))

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
