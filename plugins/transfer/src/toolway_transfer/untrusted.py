"""What is not taken from a file that somebody else may have written: whatever gives rights or opens doors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolway.hookspecs.system import Entity, Guarded

PROTECTED = frozenset({"owner", "admin", "members", "access", "allow_private"})
"""Members that stay as they are, or at their default."""

PROTECTED_ONCE_MADE = PROTECTED | {"visibility"}
"""A new object is hidden as the file has it, which can only be narrower than the default."""

HARMLESS = PROTECTED_ONCE_MADE | {
    *(
        "name",
        "description",
        "enabled",
        "instructions",
        "in_flight",
        "refresh_interval",
        "retries",
        "sharing",
        "timeouts",
    )
}
"""Members that do not decide where credentials go."""


def gives_rights(entity: Entity) -> bool:
    """Whether objects of this collection are about who may do what."""
    return isinstance(entity, Guarded) or entity.part == "accounts" or entity.kind == "token-policies"


def kept(
    new: Mapping[str, Any], old: Mapping[str, Any] | None, *, allow_private: bool
) -> tuple[dict[str, Any], list[str]]:
    """The object of a file as far as it is taken, and the members that are not; `old` is what exists."""
    protected = (PROTECTED if old is None else PROTECTED_ONCE_MADE) - ({"allow_private"} if allow_private else set())
    before = old or {}
    ignored = sorted(member for member in protected & new.keys() if new[member] != before.get(member))
    taken = {member: value for member, value in new.items() if member not in protected}
    return {**taken, **{member: before[member] for member in sorted(protected & before.keys())}}, ignored


def goes_elsewhere(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a credential of the old object would be sent somewhere else, or be used for something else."""
    return any(new.get(member) != old.get(member) for member in new.keys() | old.keys() if member not in HARMLESS)
