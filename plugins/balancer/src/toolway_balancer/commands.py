"""`toolway endpoints`."""

from __future__ import annotations

from typing import Annotated

import typer

from toolway.hookspecs.commands import Terminal

COLUMNS = ("name", "endpoint", "health", "used", "latency_ms", "in_flight", "weight", "share", "faults", "reason")

app = typer.Typer(help="Health, latency and load of the endpoints of upstreams.")


@app.callback(invoke_without_command=True)
def endpoints(
    context: typer.Context,
    upstream: Annotated[str | None, typer.Option(help="Only the endpoints of this upstream.")] = None,
) -> None:
    """List the endpoints with health, latency, calls in flight and weight, as the node that answers sees them."""
    terminal: Terminal = context.obj
    every = terminal.pages("/endpoints")
    terminal.show("endpoints", (each for each in every if upstream in (None, each["name"])), COLUMNS)
