"""`toolway rate-limits`."""

from __future__ import annotations

from typing import Any

import typer

from toolway.hookspecs.commands import Terminal

app = typer.Typer(invoke_without_command=True, help="Rate limits, who uses most of them, and load shedding.")

COLUMNS = ("name", "by", "rate", "burst", "concurrent", "refused", "emptiest", "fullest")


@app.callback()
def show(context: typer.Context) -> None:
    """Show the limits of the node that answers: what each refused, and who has the least left of it."""
    terminal: Terminal = context.obj
    found = terminal.api("GET", "/rate-limits")
    terminal.show("rate limits", [_row(rule) for rule in found["rules"]], COLUMNS)
    load = found["load"]
    shed = ", ".join(f"{count} {priority}" for priority, count in load["shed"].items()) or "load shedding is off"
    counted = "alone" if found["counted"] == "alone" else f"with {found['nodes']} nodes, store {found['store']}"
    terminal.note(f"node {found['node']} counts {counted}; lag {load['lag'] * 1000:.0f} ms, shed: {shed}")


def _row(rule: dict[str, Any]) -> dict[str, Any]:
    holders = {
        column: [f"{holder['key']}: {holder['count']}" for holder in rule[column]] for column in ("emptiest", "fullest")
    }
    return {**rule, **holders}
