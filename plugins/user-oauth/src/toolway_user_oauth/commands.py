"""`toolway connections …`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from toolway.hookspecs.commands import Terminal, names

app = typer.Typer(no_args_is_help=True, help="Accounts of yours that the gateway may use at upstreams.")

Upstream = Annotated[
    str, typer.Argument(help="Name of the upstream.", autocompletion=names("/connections", "upstream"))
]
Of = Annotated[str | None, typer.Option(help="Of this principal, such as user:alice; yourself by default.")]

COLUMNS = ("name", "principal", "issuer", "scopes", "connected_at", "expires_at")


@app.command("list")
def list_connections(context: typer.Context, principal: Of = None) -> None:
    """List connections: yours, and those that you may see."""
    terminal: Terminal = context.obj
    terminal.show("connections", terminal.pages("/connections", principal=principal), COLUMNS)


@app.command()
def connect(context: typer.Context, upstream: Upstream) -> None:
    """Print a link that connects your account of an upstream, to be opened in a browser."""
    terminal: Terminal = context.obj
    link = terminal.api("POST", "/connections", {"upstream": upstream})
    terminal.print(link)
    terminal.note(f"open the link in a browser until {link['expires_at']}; it is good for once")


@app.command()
def revoke(context: typer.Context, upstream: Upstream, principal: Of = None) -> None:
    """End a connection here, and at its authorization server where that is possible."""
    terminal: Terminal = context.obj
    query = f"?{urlencode({'principal': principal})}" if principal else ""
    ended = terminal.api("DELETE", f"/connections/{quote(upstream, safe='')}{query}")
    where = "here and there" if ended["revoked_at_issuer"] else "here; its authorization server was not told"
    terminal.note(f"the connection of {ended['principal']} to {upstream} is ended {where}")
