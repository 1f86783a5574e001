"""Whether what one credential allows is within what another one allows: whoever is limited can hand on no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from toolway.hookspecs.permissions import Limits, Permission, Permissions, networks

NO_LIMITS = Limits()


class Reach(msgspec.Struct, frozen=True):
    """What a credential is good for: its limits, client networks, and when it ends (Unix seconds; None: never)."""

    limits: Limits = NO_LIMITS
    networks: tuple[str, ...] = ()
    expires_at: float | None = None
    single_use: bool = False


def narrowed(wanted: Reach, own: Reach) -> Reach:
    """What is wanted, with one's own limits where it names none."""
    limits = Limits(
        wanted.limits.scopes or own.limits.scopes,
        wanted.limits.servers or own.limits.servers,
        wanted.limits.items or own.limits.items,
    )
    return msgspec.structs.replace(wanted, limits=limits, networks=wanted.networks or own.networks)


def excess(wanted: Reach, own: Reach) -> str:
    """The first thing in which `wanted` goes beyond `own`, in words; empty when it is within."""
    if beyond := scopes_beyond(wanted.limits.scopes, own.limits.scopes):
        return beyond
    for what in ("servers", "items"):
        if beyond := _patterns_beyond(what, getattr(wanted.limits, what), getattr(own.limits, what)):
            return beyond
    if own.networks and not _within_networks(wanted.networks, own.networks):
        return "its networks"
    if own.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > own.expires_at):
        return "its end"
    return "more than one use" if own.single_use and not wanted.single_use else ""


def scopes_beyond(wanted: Sequence[str], own: Sequence[str]) -> str:
    """The first scope that no scope of one's own covers; with none wanted, everything is."""
    if not own:
        return ""
    covered = [Permission.parse(text) for text in own]
    for text in wanted:
        scope = Permission.parse(text)
        if not any(_covers(one, scope) for one in covered):
            return f"the scope {text}"
    return "" if wanted else "everything"


def _covers(own: Permission, scope: Permission) -> bool:
    """Whether every action on every object that `scope` is about is one that `own` is about.

    A pattern that matches the text of another one matches whatever that one does: only its own `*` can match a `*`.
    """
    return Permissions([own]).permit(scope.action, scope.pattern)


def _patterns_beyond(what: str, wanted: Sequence[str], own: Sequence[str]) -> str:
    if not own:
        return ""
    if not wanted:
        return f"all {what}"
    covers = [Permissions([Permission("*", pattern)]) for pattern in own]
    for pattern in wanted:
        if not any(each.permit("any:one", pattern) for each in covers):
            return f"the {what} {pattern}"
    return ""


def _within_networks(wanted: Iterable[str], own: Iterable[str]) -> bool:
    allowed, asked = networks(own), networks(wanted)
    return bool(asked) and all(
        any(one.version == each.version and one.subnet_of(each) for each in allowed)  # type: ignore[arg-type]
        for one in asked
    )
