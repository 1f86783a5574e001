"""The members of a team, one at a time: the way in which owners of a team manage it themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from toolway.bundled.accounts.entities import PART, members_of, next_revision, set_member
from toolway.bundled.accounts.models import TeamRow
from toolway.hookspecs.accounts import TeamRole
from toolway.hookspecs.api import SIGNED_IN, Incoming, Operation
from toolway.hookspecs.system import Transaction
from toolway.plugin import Kernel, NotFound

READ, WRITE = "teams:read", "teams:write"


class MemberRole(BaseModel, extra="forbid"):
    """What a member is to be."""

    role: TeamRole = Field(description="`owner` (may change members), `member` or `viewer`.")


class Members(BaseModel):
    """The members of a team."""

    members: Mapping[str, TeamRole] = Field(description="What each account is in the team, by its id.")


class Memberships:
    """Members may see them, owners may change them; so may whoever has the permission for the team."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def operations(self) -> Iterable[Operation]:
        """What the API offers."""
        every = "/api/v1/teams/{name}/members"
        one = f"{every}/{{account}}"
        return [
            Operation("GET", every, SIGNED_IN, self.list, answer=Members),
            Operation("PUT", one, SIGNED_IN, self.put, MemberRole, success=(204,)),
            Operation("DELETE", one, SIGNED_IN, self.delete, success=(204,)),
        ]

    async def list(self, incoming: Incoming) -> Members:
        """List the members of a team."""
        async with self._kernel.database.read() as tx:
            members: dict[str, Any] = await members_of(tx, incoming.name)
            _demand(incoming, READ, members.get(incoming.principal.id) is not None)
            await _team(tx, incoming.name)
        return Members(members=members)

    async def put(self, incoming: Incoming) -> Response:
        """Add a member, or change what it is."""
        return await self._change(incoming, incoming.body.role)

    async def delete(self, incoming: Incoming) -> Response:
        """Remove a member."""
        return await self._change(incoming, None)

    async def _change(self, incoming: Incoming, role: TeamRole | None) -> Response:
        team, account, actor = incoming.name, incoming.path["account"], incoming.principal.id
        action = "teams.member" if role else "teams.no-member"
        async with self._kernel.database.change(PART, actor, action, f"teams/{team}/members/{account}") as tx:
            members = await members_of(tx, team)
            _demand(incoming, WRITE, members.get(actor) == "owner")
            row = await _team(tx, team)
            if role is None and account not in members:
                raise NotFound(f"team {team!r} has no member {account!r}")
            tx.before, tx.after = {"role": members.get(account)}, {"role": role}
            if members.get(account) != role:
                await set_member(tx, team, account, role)
                row.revision = next_revision(tx, row.revision)
                tx.session.add(row)
        await self._kernel.catalog.reload()
        return Response(status_code=204)


def _demand(incoming: Incoming, action: str, by_role: bool) -> None:
    """What is theirs by their role in the team is still within the limits of the credential."""
    limits = incoming.principal.limits
    if by_role and (limits is None or limits.permit(action, incoming.name, "")):
        return
    incoming.demand(action, incoming.name)


async def _team(tx: Transaction, name: str) -> TeamRow:
    row: TeamRow | None = await tx.session.get(TeamRow, name)
    if row is None:
        raise NotFound(f"teams has no {name!r}")
    return row
