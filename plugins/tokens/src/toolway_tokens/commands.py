"""`toolway tokens …`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.hookspecs.commands import Terminal, names
from toolway.plugin import InvalidInput

app = typer.Typer(no_args_is_help=True, help="API tokens of users and service accounts.")
policies = typer.Typer(no_args_is_help=True, help="Lifetimes of the tokens of a user, service account or team.")
app.add_typer(policies, name="policies")

Name = Annotated[str, typer.Argument(help="The token's id, as the list shows it.", autocompletion=names("/tokens"))]
PolicyName = Annotated[str, typer.Argument(help="user:<name>, service:<name> or team:<name>.")]
User = Annotated[str | None, typer.Option(help="Of this user; yourself by default.")]
Service = Annotated[str | None, typer.Option(help="Of this service account.")]
Many = list[str] | None

COLUMNS = ("name", "subject", "description", "state", "expires_at", "last_used_at", "last_address")


@app.command()
def create(
    context: typer.Context,
    user: User = None,
    service: Service = None,
    ttl: Annotated[str | None, typer.Option(help="How long it lives, such as 1h or 30d.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it ends, such as 2030-01-31T12:00:00Z.")] = None,
    scope: Annotated[Many, typer.Option(help="Permission to limit it to, such as 'tools:call:billing/*'.")] = None,
    server: Annotated[Many, typer.Option(help="Pattern of servers to limit it to.")] = None,
    tool: Annotated[Many, typer.Option(help="Pattern of canonical names (upstream/item) to limit it to.")] = None,
    network: Annotated[Many, typer.Option(help="Client network to accept it from, such as 10.0.0.0/8.")] = None,
    one_time: Annotated[bool, typer.Option("--one-time", help="Good for one call or administrative request.")] = False,
    name: Annotated[str, typer.Option("--name", "--description", help="What it is for, for people.")] = "",
) -> None:
    """Make a token and print it; it is not shown again."""
    terminal: Terminal = context.obj
    wanted: dict[str, Any] = {
        "subject": _subject(user, service),
        "description": name,
        "ttl": ttl,
        "expires_at": expires_at,
        "scopes": scope,
        "servers": server,
        "items": tool,
        "networks": network,
        "single_use": one_time,
    }
    made = terminal.api("POST", "/tokens", {key: value for key, value in wanted.items() if value})
    terminal.print(made)
    terminal.note(f"token {made['name']} of {made['subject']} ends at {made['expires_at']}; it is not shown again")


@app.command("list")
def list_tokens(context: typer.Context, user: User = None, service: Service = None) -> None:
    """List tokens: yours, and those that you may see."""
    terminal: Terminal = context.obj
    terminal.show("tokens", terminal.pages("/tokens", subject=_subject(user, service) or None), COLUMNS)


@app.command()
def get(context: typer.Context, name: Name) -> None:
    """Show one, without its value."""
    terminal: Terminal = context.obj
    terminal.print(terminal.api("GET", f"/tokens/{quote(name, safe='')}"))


@app.command()
def revoke(context: typer.Context, name: Name) -> None:
    """End a token at once, on every node, with those that were made with it."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", f"/tokens/{quote(name, safe='')}")
    terminal.note(f"token {name} is revoked")


@app.command("rotate-keys")
def rotate_keys(context: typer.Context) -> None:
    """Sign with a new key; tokens that exist go on until their end."""
    terminal: Terminal = context.obj
    terminal.print(terminal.api("POST", "/token-keys/rotate"))


@policies.command("list")
def list_policies(context: typer.Context) -> None:
    """List them."""
    terminal: Terminal = context.obj
    terminal.show("policies", terminal.pages("/token-policies"), ("name", "default_ttl", "max_ttl"))


@policies.command("get")
def get_policy(context: typer.Context, name: PolicyName) -> None:
    """Show one."""
    terminal: Terminal = context.obj
    terminal.print(terminal.api("GET", f"/token-policies/{quote(name, safe='')}"))


@policies.command("set")
def set_policy(
    context: typer.Context,
    name: PolicyName,
    default_ttl: Annotated[str | None, typer.Option(help="Of tokens that ask for none, such as 7d.")] = None,
    max_ttl: Annotated[str | None, typer.Option(help="Longer ones are refused.")] = None,
) -> None:
    """Make or replace one; what is not given is as for everybody."""
    terminal: Terminal = context.obj
    body = {"name": name, "default_ttl": default_ttl, "max_ttl": max_ttl}
    terminal.print(terminal.api("PUT", f"/token-policies/{quote(name, safe='')}", body))


@policies.command("remove")
def remove_policy(context: typer.Context, name: PolicyName) -> None:
    """Remove one; tokens that exist keep their end."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", f"/token-policies/{quote(name, safe='')}")
    terminal.note(f"token policy {name} is removed")


def _subject(user: str | None, service: str | None) -> str:
    """The account that two options may name."""
    if user and service:
        raise InvalidInput("--user and --service are both given; a token is of one account")
    return f"user:{user}" if user else f"service:{service}" if service else ""
