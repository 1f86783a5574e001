"""Commands on users, service accounts and teams."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.cli.client import Client, client
from toolway.cli.objects import NewName, Replace, collection, named, save
from toolway.cli.show import note, show
from toolway.hookspecs.commands import names

SESSION = "tws_"
"""What the token of a session begins with; other tokens outlive a logout."""

UserName = Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/users"))]
ServiceName = Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/service-accounts"))]
TeamName = Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/teams"))]
AccountId = Annotated[str, typer.Argument(help="user:NAME or service:NAME; a bare NAME is a user's.")]
Description = Annotated[str | None, typer.Option(help="For people.")]

users = collection("user", "People.", UserName, ("name", "display_name", "email", "enabled", "admin", "provider"))
services = collection("service-account", "Programs.", ServiceName, ("name", "description", "enabled", "owner"))
teams = collection("team", "Accounts that work together.", TeamName, ("name", "description", "members"))
members = typer.Typer(no_args_is_help=True, help="Who is in a team, as owner, member or viewer.")
teams.add_typer(members, name="members")


def _switches(group: typer.Typer, path: str, name_type: Any) -> None:
    """Commands that change nothing else."""

    def switch(name: str, enabled: bool) -> None:
        one = f"{path}/{quote(name, safe='')}"
        client().api("PUT", one, {**client().api("GET", one), "enabled": enabled})
        note(f"{name} is {'enabled' if enabled else 'disabled'}")

    @group.command("enable")
    def enable(name: name_type) -> None:
        """Let one sign in again and use its credentials."""
        switch(name, enabled=True)

    @group.command("disable")
    def disable(name: name_type) -> None:
        """Let one not sign in any more; its sessions end and its credentials stop working."""
        switch(name, enabled=False)


_switches(users, "/users", UserName)
_switches(services, "/service-accounts", ServiceName)


@users.command("add")
def add_user(
    name: NewName,
    display_name: Annotated[str | None, typer.Option(help="For people.")] = None,
    email: Annotated[str | None, typer.Option(help="For people.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who verifies the user; default: local.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything.")] = False,
    replace: Replace = False,
) -> None:
    """Add a user, or with --replace set all of it anew."""
    body = named(name, display_name=display_name, email=email, provider=provider, admin=admin)
    save(client(), "users", body, replace)
    note(f"user {name} saved")
    if not replace and provider in (None, "local"):
        note(f"set a password with: toolway users password {name}")


@users.command("password")
def set_password(name: UserName) -> None:
    """Set a user's password, which is asked for; its sessions end."""
    password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    client().api("PUT", f"/users/{quote(name, safe='')}/password", {"password": password})
    note(f"the password of {name} is set")


@services.command("add")
def add_service(
    name: NewName,
    description: Description = None,
    owner: Annotated[str | None, typer.Option(help="user:NAME or team:NAME.")] = None,
    replace: Replace = False,
) -> None:
    """Add a service account, or with --replace set all of it anew."""
    save(client(), "service-accounts", named(name, description=description, owner=owner), replace)
    note(f"service account {name} saved")


@teams.command("add")
def add_team(name: NewName, description: Description = None) -> None:
    """Add a team."""
    save(client(), "teams", named(name, description=description), replace=False)
    note(f"team {name} saved")


@members.command("list")
def list_members(team: TeamName) -> None:
    """List the members of a team."""
    found = client().api("GET", f"/teams/{quote(team, safe='')}/members")["members"]
    show("members", [{"account": account, "role": role} for account, role in found.items()], ("account", "role"))


@members.command("add")
def add_member(
    team: TeamName, account: AccountId, role: Annotated[str, typer.Option(help="owner, member or viewer.")] = "member"
) -> None:
    """Add a member to a team, or change what it is."""
    client().api("PUT", _member(team, account), {"role": role})
    note(f"{account} is {role} of {team}")


@members.command("remove")
def remove_member(team: TeamName, account: AccountId) -> None:
    """Remove a member from a team."""
    client().api("DELETE", _member(team, account))
    note(f"{account} is not in {team} any more")


def sign_in(api: Client, username: str) -> str:
    """The token of a new session, for a password that is asked for."""
    body = {"username": username, "password": typer.prompt("Password", hide_input=True), "bearer": True}
    return str(api.api("POST", "/session", body)["token"])


def _member(team: str, account: str) -> str:
    full = account if ":" in account else f"user:{account}"
    return f"/teams/{quote(team, safe='')}/members/{quote(full, safe='')}"
