"""`toolway loggers`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal

app = typer.Typer(help="Show and change what is written to the log, while the gateway runs.")
COLUMNS = ("name", "level", "configured", "changed")

All = Annotated[bool, typer.Option("--all", help="Those without a level of their own, too.")]
Name = Annotated[str, typer.Argument(help="A logger, such as toolway.gateway; root is above all.")]
NewLevel = Annotated[str, typer.Argument(help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")]
Seconds = Annotated[float | None, typer.Option(help="For so long; without it until it is reset.")]


@app.callback(invoke_without_command=True)
def loggers(context: typer.Context, everything: All = False) -> None:
    """Show the loggers and their levels."""
    if context.invoked_subcommand is None:
        terminal: Terminal = context.obj
        items: list[dict[str, Any]] = terminal.api("GET", "/loggers")["items"]
        own = [each for each in items if each["configured"] or each["changed"] or each["name"] == "root"]
        terminal.show("loggers", items if everything else own, COLUMNS)


@app.command("set")
def set_level(context: typer.Context, name: Name, level: NewLevel, seconds: Seconds = None) -> None:
    """Set the level of a logger and of all below it, on every node."""
    terminal: Terminal = context.obj
    body = {"level": level.upper(), "seconds": seconds}
    terminal.show("loggers", [terminal.api("PUT", f"/loggers/{name}", body)], COLUMNS)


@app.command()
def reset(context: typer.Context, name: Name) -> None:
    """Let the configuration decide about a logger again, on every node."""
    terminal: Terminal = context.obj
    terminal.show("loggers", [terminal.api("DELETE", f"/loggers/{name}")], COLUMNS)
