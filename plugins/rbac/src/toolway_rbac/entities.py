"""The collections `roles` and `bindings` on their tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlmodel import col, select

from toolway.hookspecs.api import Incoming
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Conflict, InvalidInput, Kernel, NotFound
from toolway_rbac.definitions import BUILTIN_ROLES, Binding, Role
from toolway_rbac.delegation import Delegation
from toolway_rbac.models import BindingRow, RoleRow
from toolway_rbac.part import PART
from toolway_rbac.vocabulary import check_permission, check_subject

D = TypeVar("D", Role, Binding)


class Rowed(Generic[D]):
    """What both collections do alike."""

    kind: str
    part: str = PART
    row: Any
    schema: Any

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All objects, sorted by name."""
        rows = await tx.session.exec(select(self.row).order_by(col(self.row.name)))
        return [self._stored(row) for row in rows]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One object, or None."""
        row = await tx.session.get(self.row, name)
        return None if row is None else self._stored(row)

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove it; raises NotFound or Conflict."""
        row = await tx.session.get(self.row, name)
        if row is None:
            raise NotFound(f"{self.kind} has no {name!r}")
        await tx.session.delete(row)
        await tx.session.flush()

    async def _put(self, tx: Transaction, value: D, **columns: str) -> None:
        row = await tx.session.get(self.row, value.name) or self.row(name=value.name, revision=0, settings="", role="")
        row.settings = value.model_dump_json(exclude_defaults=True)
        row.revision = max(row.revision + 1, getattr(tx, "revision", 0))  # a name that comes back has a new ETag
        for column, content in columns.items():
            setattr(row, column, content)
        tx.session.add(row)
        await tx.session.flush()

    def _stored(self, row: Any) -> Stored:
        return Stored(row.name, self.schema.model_validate_json(row.settings), row.revision)

    def _delegation(self, principal: Principal) -> Delegation:
        kernel = self._kernel
        return Delegation(kernel.parts[PART], principal, kernel.clock.now(), kernel.describe)


class RoleEntity(Rowed[Role]):
    """Roles; the built-in ones are shown and never change."""

    kind = "roles"
    row = RoleRow
    schema = Role

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """See `Entity`."""
        found = [*await super().list(tx), *map(_builtin, BUILTIN_ROLES.values())]
        return sorted(found, key=lambda stored: stored.name)

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """See `Entity`."""
        return _builtin(BUILTIN_ROLES[name]) if name in BUILTIN_ROLES else await super().get(tx, name)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """See `Entity`."""
        role = Role.model_validate(value)
        _refuse_builtin(role.name)
        for permission in role.permissions:
            check_permission(self._kernel, permission)
        await self._put(tx, role)

    async def delete(self, tx: Transaction, name: str) -> None:
        """See `Entity`; what a binding names stays."""
        _refuse_builtin(name)
        user = (await tx.session.exec(select(BindingRow.name).where(BindingRow.role == name).limit(1))).first()
        if user is not None:
            raise Conflict(f"the role {name!r} is used by the binding {user!r}; remove the bindings that name it first")
        await super().delete(tx, name)

    def guard(self, incoming: Incoming, before: Role | None, after: Role | None) -> None:
        """See `Guarded`: nobody gives away more than they have."""
        self._delegation(incoming.principal).check_role(before, after)


class BindingEntity(Rowed[Binding]):
    """Bindings."""

    kind = "bindings"
    row = BindingRow
    schema = Binding

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """See `Entity`."""
        binding = Binding.model_validate(value)
        old = await self.get(tx, binding.name)
        self._check_expiry(binding, None if old is None else Binding.model_validate(old.value))
        if binding.permission:
            check_permission(self._kernel, binding.permission)
        elif binding.role not in BUILTIN_ROLES and await tx.session.get(RoleRow, binding.role) is None:
            raise InvalidInput(f"there is no role {binding.role!r}; make it first, or take one of the built-in roles")
        await check_subject(self._kernel, tx, binding.subject)
        await self._put(tx, binding, role=binding.role)

    def guard(self, incoming: Incoming, before: Binding | None, after: Binding | None) -> None:
        """See `Guarded`: nobody gives away more than they have."""
        self._delegation(incoming.principal).check_binding(before, after)

    def _check_expiry(self, new: Binding, old: Binding | None) -> None:
        if new.expires_at is None or (old is not None and old.expires_at == new.expires_at):
            return
        if new.expires_at <= self._kernel.clock.now():
            raise InvalidInput("expires_at is in the past; give a later time, in seconds since 1970, or null for never")


def _builtin(role: Role) -> Stored:
    return Stored(role.name, role, 0, "file")


def _refuse_builtin(name: str) -> None:
    if name in BUILTIN_ROLES:
        raise Conflict(f"the role {name!r} is built in and does not change; make one with another name")
