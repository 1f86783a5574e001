"""`toolway breakers …`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from toolway.hookspecs.commands import Terminal, names

app = typer.Typer(no_args_is_help=True, help="Circuits of upstreams, and endpoints that are ejected.")

Upstream = Annotated[str, typer.Argument(help="The upstream's name.", autocompletion=names("/breakers"))]
Which = Annotated[str, typer.Option(help="One endpoint only, by its URL.", metavar="URL")]

COLUMNS = ("upstream", "endpoint", "state", "retry_in", "faults", "openings", "ejected_for", "reason")


@app.command("list")
def list_breakers(context: typer.Context) -> None:
    """List every endpoint that you may see, as the node that answers sees it."""
    terminal: Terminal = context.obj
    found = terminal.pages("/breakers")
    rows = [{"upstream": each["name"], **endpoint} for each in found for endpoint in each["endpoints"]]
    terminal.show("breakers", rows, COLUMNS)


@app.command("open")
def open_circuits(context: typer.Context, upstream: Upstream, endpoint: Which = "") -> None:
    """Refuse calls to an upstream until somebody closes its circuits, on every node."""
    _do(context, upstream, "open", endpoint)


@app.command()
def close(context: typer.Context, upstream: Upstream, endpoint: Which = "") -> None:
    """Close circuits and end ejections, on every node."""
    _do(context, upstream, "close", endpoint)


@app.command()
def reset(context: typer.Context, upstream: Upstream, endpoint: Which = "") -> None:
    """Forget what is known of endpoints, on every node."""
    _do(context, upstream, "reset", endpoint)


def _do(context: typer.Context, upstream: str, verb: str, endpoint: str) -> None:
    terminal: Terminal = context.obj
    answer = terminal.api("POST", f"/breakers/{quote(upstream, safe='')}/{verb}", {"endpoint": endpoint})
    terminal.print(answer)
    terminal.note(f"{upstream} is {answer['state']} now")
