"""What roles and bindings may speak of: actions that something asks for, and subjects that exist."""

from __future__ import annotations

from difflib import get_close_matches

from toolway.hookspecs.permissions import ITEM_ACTIONS, Permission
from toolway.hookspecs.system import Transaction
from toolway.plugin import InvalidInput, Kernel
from toolway_rbac.definitions import MANAGE

CONNECT = "servers:connect"

_COLLECTIONS = {"user": "users", "service": "service-accounts", "team": "teams"}
"""Where the subject of a binding is declared."""


def actions(kernel: Kernel) -> set[str]:
    """Every action that a permission can be about: those of operations, of servers and items, and of this plugin."""
    asked = {operation.permission for operation in kernel.operations if ":" in operation.permission}
    return asked | ITEM_ACTIONS | {CONNECT, MANAGE}


def check_permission(kernel: Kernel, text: str) -> None:
    """Refuse an action that nothing asks for; raises InvalidInput, with the one that was meant."""
    action = Permission.parse(text).action
    known = actions(kernel)
    every = known | {f"{each.partition(':')[0]}:*" for each in known} | {"*"}
    if action in every:
        return
    near = get_close_matches(action, sorted(every), 1)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/permissions.md lists the actions"
    raise InvalidInput(f"no operation asks for the permission {action!r}, so {text!r} would never matter; {hint}")


async def check_subject(kernel: Kernel, tx: Transaction, subject: str) -> None:
    """Refuse a user, service account or team that does not exist; groups are known to their directory only.

    Raises:
        InvalidInput: names what is missing.
    """
    prefix, _, name = subject.partition(":")
    kind = _COLLECTIONS.get(prefix)
    entity = next((each for each in kernel.entities if each.kind == kind), None)
    if kind is not None and (entity is None or await entity.get(tx, name) is None):
        raise InvalidInput(f"{kind} has no {name!r}; make it first, or correct the subject")
