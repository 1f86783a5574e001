"""Sets of permissions: what they permit, and whether somebody who has them may hand out another one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from toolway.hookspecs.permissions import EVERYTHING, Permission
from toolway_rbac.patterns import Patterns, covers, overlap

ALL = Permission.parse(EVERYTHING)

parsed = lru_cache(16_384)(Permission.parse)
"""`Permission.parse`, for texts that come again and again."""


class Permits:
    """A set of permissions, compiled."""

    def __init__(self, permissions: Iterable[Permission]) -> None:
        self.permissions = frozenset(permissions)
        self.all = ALL in self.permissions
        by_action: dict[str, list[str]] = {}
        for each in self.permissions:
            by_action.setdefault(each.action, []).append(each.pattern)
        self._patterns = {action: Patterns(patterns) for action, patterns in by_action.items()}

    def permit(self, action: str, name: str) -> bool:
        """Whether one of them covers this action on the object of this name."""
        if self.all:
            return True
        exact, any_verb = self._patterns.get(action), self._patterns.get(f"{action.partition(':')[0]}:*")
        return (exact is not None and exact.match(name)) or (any_verb is not None and any_verb.match(name))

    def covers(self, wanted: Permission) -> bool:
        """Whether one of them permits everything that `wanted` does."""
        return any(is_within(wanted, each) for each in self.permissions)

    def touches(self, wanted: Permission) -> bool:
        """Whether one of them permits something that `wanted` does, too."""
        return any(
            _same_action(each.action, wanted.action) and overlap(each.pattern, wanted.pattern)
            for each in self.permissions
        )


def permits(permission: Permission, action: str, name: str) -> bool:
    """Whether a single permission covers this action on the object of this name."""
    return is_within(Permission(action, name), permission)


def is_within(narrow: Permission, wide: Permission) -> bool:
    """Whether `wide` permits everything that `narrow` does."""
    if wide == ALL:
        return True
    is_action = wide.action in (narrow.action, f"{narrow.action.partition(':')[0]}:*")
    return is_action and covers(wide.pattern, narrow.pattern)


def _same_action(one: str, other: str) -> bool:
    """Whether two actions have one in common."""
    if "*" in (one, other) or one == other:
        return True
    return one.partition(":")[0] == other.partition(":")[0] and (one.endswith(":*") or other.endswith(":*"))
