"""What is declared of users, service accounts and teams, as in the API and the CLI."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from toolway.hookspecs.accounts import TeamRole
from toolway.hookspecs.definitions import NAME
from toolway.plugin import Definition, Name

LOCAL = "local"
"""The provider of accounts whose password is kept here."""

Line = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text for people."""

AccountId = Annotated[str, Field(pattern=rf"^(?:user|service):{NAME.pattern}$")]
"""The id of an account: `user:<name>` or `service:<name>`."""

MOST_MEMBERS = 10_000


class User(Definition):
    """A person. Its password is no part of it."""

    name: Name = Field(description="What the user signs in with; never given twice.")
    display_name: Line = Field("", description="For people.")
    email: Annotated[str, Field(max_length=254, pattern=r"^(?:[^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+)?$")] = Field(
        "", description="For people; accounts are never told apart or linked by it."
    )
    enabled: bool = Field(True, description="A disabled user cannot sign in, and none of its credentials works.")
    admin: bool = Field(False, description="May do everything; only such a user may make another one.")
    provider: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = Field(
        LOCAL, description="Who verifies the user: `local`, or the name of a directory or identity provider."
    )


class ServiceAccount(Definition):
    """A program. It signs in with credentials that others make for it, never with a password."""

    name: Name = Field(description="Unique name; never given twice.")
    description: Annotated[str, Field(max_length=1000)] = Field("", description="For people.")
    enabled: bool = Field(True, description="None of the credentials of a disabled one works.")
    owner: Annotated[str, Field(pattern=rf"^(?:(?:user|team):{NAME.pattern})?$")] = Field(
        "", description="Whose it is: `user:<name>`, `team:<name>`, or empty."
    )


class Team(Definition):
    """Accounts that work together."""

    name: Name = Field(description="Unique name; never given twice.")
    description: Annotated[str, Field(max_length=1000)] = Field("", description="For people.")
    members: Annotated[dict[AccountId, TeamRole], Field(max_length=MOST_MEMBERS)] = Field(
        {}, description="What each account is in the team, by its id: `owner` (may change members), `member`, `viewer`."
    )
