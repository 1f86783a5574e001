"""The part `rbac` of the snapshot: the policy, read from the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter
from sqlmodel import col, select

from toolway.hookspecs.accounts import NO_ACCOUNTS
from toolway.hookspecs.system import Transaction
from toolway_rbac.definitions import BUILTIN_ROLES, Role
from toolway_rbac.models import BindingRow, RoleRow
from toolway_rbac.policy import Bound, Policy

PART = "rbac"
ACCOUNTS = "accounts"

_ROLES = TypeAdapter(list[Role])
_BINDINGS = msgspec.json.Decoder(list[Bound])


class PolicyPart:
    """Loads the policy; `baseline` are the roles that every principal with a credential has."""

    name = PART
    after: tuple[str, ...] = (ACCOUNTS,)

    def __init__(self, baseline: Sequence[str]) -> None:
        self._baseline = tuple(baseline)

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> Policy:
        """See `SnapshotPart`."""
        roles = _ROLES.validate_json(await _documents(tx, RoleRow))
        bindings = _BINDINGS.decode(await _documents(tx, BindingRow))
        declared = {role.name: role for role in roles}
        return Policy({**declared, **BUILTIN_ROLES}, bindings, parts.get(ACCOUNTS, NO_ACCOUNTS), self._baseline)


async def _documents(tx: Transaction, row: type[RoleRow | BindingRow]) -> bytes:
    """The settings of every row, sorted by name, as one JSON list."""
    found = await tx.session.exec(select(row.settings).order_by(col(row.name)))
    return msgspec.json.encode([msgspec.Raw(settings.encode()) for settings in found])
