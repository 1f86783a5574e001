"""`toolway autotune …`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.hookspecs.commands import Terminal, names

app = typer.Typer(no_args_is_help=True, help="Timeouts, retries and limits that follow what upstreams do.")

Name = Annotated[str, typer.Argument(help="The upstream.", autocompletion=names("/autotune"))]
Value = Annotated[
    str | None, typer.Option(help="timeout, retries, backoff, in_flight or hedge_after; by default all of them.")
]
Tool = Annotated[str, typer.Option(help="Of a timeout: that of one tool.")]

COLUMNS = ("upstream", "mode", "value", "tool", "in_force", "tuned", "declared", "low", "high", "pinned", "p50", "p99")
EVENT_COLUMNS = ("at", "value", "tool", "before", "after", "mode", "reason", "actor")


@app.command("list")
def list_values(context: typer.Context) -> None:
    """List what is declared, tuned and in force, upstream by upstream."""
    terminal: Terminal = context.obj
    terminal.show("tuned values", _rows(terminal.pages("/autotune")), COLUMNS)


@app.command()
def get(context: typer.Context, name: Name) -> None:
    """Show one upstream."""
    terminal: Terminal = context.obj
    terminal.print(terminal.api("GET", _path(name)))


@app.command()
def events(context: typer.Context, name: Name) -> None:
    """List what changed and why, newest first."""
    terminal: Terminal = context.obj
    terminal.show("events", terminal.api("GET", f"{_path(name)}/events")["items"], EVENT_COLUMNS)


@app.command()
def apply(context: typer.Context, name: Name) -> None:
    """Use tuned values, whatever the configuration says."""
    _post(context, name, "apply", None, "uses tuned values")


@app.command()
def observe(context: typer.Context, name: Name) -> None:
    """Only tell what tuning would do, whatever the configuration says."""
    _post(context, name, "observe", None, "uses what it declares, and what is pinned")


@app.command()
def pin(
    context: typer.Context,
    name: Name,
    value: Value = None,
    tool: Tool = "",
    to: Annotated[float | None, typer.Option(help="At what; by default what is in force now.")] = None,
) -> None:
    """Keep values as they are, or set one, until they are unpinned."""
    wanted = {"value": value, "tool": tool or None, "to": to}
    _post(context, name, "pin", wanted, f"keeps {value or 'everything'} until it is unpinned")


@app.command()
def revert(context: typer.Context, name: Name, value: Value = None, tool: Tool = "") -> None:
    """Go back to what the upstream declares, until it is unpinned."""
    wanted = {"value": value, "tool": tool or None}
    _post(context, name, "revert", wanted, f"uses what it declares for {value or 'everything'} until it is unpinned")


@app.command()
def unpin(context: typer.Context, name: Name, value: Value = None, tool: Tool = "") -> None:
    """Let values be tuned again that were pinned or reverted."""
    wanted = {"value": value, "tool": tool or None}
    _post(context, name, "unpin", wanted, f"has {value or 'everything'} tuned again")


@app.command()
def forget(context: typer.Context, name: Name) -> None:
    """Forget what was chosen: the mode is that of the configuration, and nothing is pinned."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", _path(name))
    terminal.note(f"{name} is tuned as the configuration says")


def _post(context: typer.Context, name: str, action: str, wanted: dict[str, Any] | None, told: str) -> None:
    terminal: Terminal = context.obj
    body = None if wanted is None else {key: value for key, value in wanted.items() if value is not None}
    terminal.print(terminal.api("POST", f"{_path(name)}/{action}", body))
    terminal.note(f"{name} {told}")


def _rows(upstreams: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for upstream in upstreams:
        for value in upstream["values"]:
            yield {"upstream": upstream["name"], "mode": upstream["mode"], **value}


def _path(name: str) -> str:
    return f"/autotune/{quote(name, safe='')}"
