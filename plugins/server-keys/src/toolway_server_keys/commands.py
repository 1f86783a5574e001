"""`toolway server-keys …`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.hookspecs.commands import Terminal, names

app = typer.Typer(no_args_is_help=True, help="API keys of virtual servers.")

Name = Annotated[str, typer.Argument(help="The key's id, as the list shows it.", autocompletion=names("/server-keys"))]
Many = list[str] | None

COLUMNS = ("name", "servers", "description", "owner", "state", "expires_at", "last_used_at", "last_address")


@app.command()
def create(
    context: typer.Context,
    servers: Annotated[list[str], typer.Argument(help="The virtual servers that it opens.", metavar="SERVER...")],
    name: Annotated[str, typer.Option("--name", "--description", help="What it is for, for people.")] = "",
    ttl: Annotated[str | None, typer.Option(help="How long it lives, such as 30d.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it ends, such as 2030-01-31T12:00:00Z.")] = None,
    network: Annotated[Many, typer.Option(help="Client network to accept it from, such as 10.0.0.0/8.")] = None,
    tool: Annotated[Many, typer.Option(help="Pattern of canonical names (upstream/item) to limit it to.")] = None,
    scope: Annotated[Many, typer.Option(help="Permission to limit it to, such as 'tools:call:billing/*'.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whose it is, such as team:ops; yourself by default, '' for the gateway's own.")
    ] = None,
) -> None:
    """Make a key and print it; it is not shown again."""
    terminal: Terminal = context.obj
    wanted: dict[str, Any] = {
        "servers": servers,
        "description": name or None,
        "ttl": ttl,
        "expires_at": expires_at,
        "networks": network,
        "items": tool,
        "scopes": scope,
        "owner": owner,
    }
    made = terminal.api("POST", "/server-keys", {key: value for key, value in wanted.items() if value is not None})
    terminal.print(made)
    opens = ", ".join(made["servers"])
    terminal.note(f"key {made['name']} opens {opens} until {made['expires_at']}; it is not shown again")


@app.command("list")
def list_keys(
    context: typer.Context,
    server: Annotated[str | None, typer.Option(help="Those that open this server.")] = None,
) -> None:
    """List the keys that you may see."""
    terminal: Terminal = context.obj
    terminal.show("server keys", terminal.pages("/server-keys", server=server), COLUMNS)


@app.command()
def get(context: typer.Context, name: Name) -> None:
    """Show one, without its secret."""
    terminal: Terminal = context.obj
    terminal.print(terminal.api("GET", _path(name)))


@app.command()
def rotate(
    context: typer.Context,
    name: Name,
    grace: Annotated[str | None, typer.Option(help="How long the old secret still works, such as 24h or 0s.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long the new one lives; by default as long as before.")] = None,
) -> None:
    """Print a new secret of a key; the old one works until the grace period is over."""
    terminal: Terminal = context.obj
    wanted = {key: value for key, value in (("grace", grace), ("ttl", ttl)) if value is not None}
    made = terminal.api("POST", f"{_path(name)}/rotate", wanted)
    terminal.print(made)
    until = f"works until {made['grace_until']}" if made["grace_until"] else "is over"
    terminal.note(f"key {name} has a new secret, which is not shown again; the one before {until}")


@app.command()
def revoke(context: typer.Context, name: Name) -> None:
    """End a key with all its secrets at once, on every node."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", _path(name))
    terminal.note(f"key {name} is revoked")


def _path(name: str) -> str:
    return f"/server-keys/{quote(name, safe='')}"
