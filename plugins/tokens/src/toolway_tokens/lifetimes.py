"""How long tokens live: a default and a maximum, for all, for teams, and for single users and service accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from sqlmodel import col, select

from toolway.hookspecs.accounts import Account
from toolway.hookspecs.definitions import NAME
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Definition, InvalidInput, NotFound
from toolway_tokens.durations import Duration, duration
from toolway_tokens.models import PolicyRow

PART = "token-policies"

PolicyName = Annotated[str, Field(pattern=rf"^(?:user|service|team):{NAME.pattern}$")]


class Policy(Definition):
    """Lifetimes that differ from the settings, for one account or for the members of a team."""

    name: PolicyName = Field(description="Whose: `user:<name>`, `service:<name>` or `team:<name>`.")
    default_ttl: Duration | None = Field(None, description='Of tokens that ask for none, such as "7d".')
    max_ttl: Duration | None = Field(None, description="Longer ones are refused.")

    @field_validator("max_ttl")
    @classmethod
    def _is_not_less(cls, value: int | None, info: ValidationInfo) -> int | None:
        default = info.data.get("default_ttl")
        if value is not None and default is not None and value < default:
            raise ValueError(f"must be at least default_ttl, which is {duration(default)}")
        return value


class Lifetimes(msgspec.Struct, frozen=True):
    """Seconds; `rule` says in words where the maximum comes from."""

    default: int
    maximum: int
    rule: str = "the setting max_ttl"

    def end(self, now: float, ttl: int | None, expires_at: float | None, latest: float | None) -> float:
        """When a token ends, in Unix seconds; without a wish by default, and then not after `latest`.

        Raises:
            InvalidInput: too late, not at all, or asked for in two ways.
        """
        if ttl is not None and expires_at is not None:
            raise InvalidInput("ttl and expires_at are both given; send one of them")
        if ttl is None and expires_at is None:
            end = now + min(self.default, self.maximum)
            return end if latest is None else min(end, latest)
        asked = float(ttl) if ttl is not None else (expires_at or 0.0) - now
        if asked <= 0:
            raise InvalidInput("expires_at is over already; give a time that is to come")
        if asked > self.maximum:
            which = "ttl" if ttl is not None else "expires_at"
            most = f"{duration(self.maximum)} ({self.rule})"
            raise InvalidInput(f"{which} is longer than the maximum of {most}; ask for less")
        return now + asked


def lifetimes(account: Account | None, policies: Mapping[str, Policy], settings: Lifetimes) -> Lifetimes:
    """Those of an account: its own policy, else the strictest of its teams, else the settings; for each of the two."""
    if account is None:
        return settings
    own = policies.get(account.id)
    teams = [policies[f"team:{name}"] for name in sorted(account.teams) if f"team:{name}" in policies]
    default = _first(_value(own, "default_ttl"), _least(teams, "default_ttl"))
    maximum, rule = settings.maximum, settings.rule
    if own is not None and own.max_ttl is not None:
        maximum, rule = own.max_ttl, f"the token policy {own.name}"
    elif (strictest := _least(teams, "max_ttl")) is not None:
        maximum = strictest
        rule = "the token policy " + next(team.name for team in teams if team.max_ttl == strictest)
    return Lifetimes(min(default or settings.default, maximum), maximum, rule)


async def policies_for(tx: Transaction, account: Account | None) -> Mapping[str, Policy]:
    """The policies that can be about an account."""
    if account is None:
        return {}
    names = [account.id, *(f"team:{name}" for name in account.teams)]
    rows = await tx.session.exec(select(PolicyRow).where(col(PolicyRow.name).in_(names)))
    return {row.name: _policy(row) for row in rows}


class PolicyEntity:
    """The collection `token-policies`."""

    kind = "token-policies"
    part = PART
    schema = Policy

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All, sorted by name."""
        rows = await tx.session.exec(select(PolicyRow).order_by(col(PolicyRow.name)))
        return sorted((_stored(row) for row in rows), key=lambda stored: stored.name)

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One, or None."""
        row = await tx.session.get(PolicyRow, name)
        return None if row is None else _stored(row)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """Create or replace one; tokens that exist keep their end."""
        policy = Policy.model_validate(value)
        row = await tx.session.get(PolicyRow, policy.name) or PolicyRow(name=policy.name)
        row.default_ttl, row.max_ttl = policy.default_ttl, policy.max_ttl
        row.revision = max(row.revision + 1, getattr(tx, "revision", 0))  # a name that comes back has a new ETag
        tx.session.add(row)
        await tx.session.flush()

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove one; raises NotFound."""
        row = await tx.session.get(PolicyRow, name)
        if row is None:
            raise NotFound(f"{self.kind} has no {name!r}")
        await tx.session.delete(row)
        await tx.session.flush()


def _policy(row: PolicyRow) -> Policy:
    return Policy(name=row.name, default_ttl=row.default_ttl, max_ttl=row.max_ttl)


def _stored(row: PolicyRow) -> Stored:
    return Stored(row.name, _policy(row), row.revision)


def _value(policy: Policy | None, field: str) -> int | None:
    return None if policy is None else getattr(policy, field)


def _least(policies: Sequence[Policy], field: str) -> int | None:
    return min((value for policy in policies if (value := _value(policy, field)) is not None), default=None)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
