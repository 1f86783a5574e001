"""`toolway reload`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal

app = typer.Typer(help="Put another configuration in force while clients use the gateway.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check it, on every node, and show what is different.")]
Last = Annotated[bool, typer.Option("--last", help="Show how the last ones ended.")]


@app.callback(invoke_without_command=True)
def reload(context: typer.Context, dry_run: DryRun = False, last: Last = False) -> None:
    """Read the configuration anew on every node and put it in force; exits with 1 if a node refuses it."""
    terminal: Terminal = context.obj
    if last:
        rows = [{**each, "at": _time(each["at"])} for each in terminal.api("GET", "/reload")["items"]]
        terminal.show("reloads", rows, ("at", "by", "dry_run", "outcome", "problem"))
        return
    report = terminal.api("POST", "/reload", {"dry_run": dry_run})
    if report["differences"] or report["outcome"] != "refused":
        terminal.show("differences", report["differences"], ("what", "path", "needs_restart"))
    terminal.note(_sentence(report))
    if report["outcome"] in ("refused", "in part"):
        raise typer.Exit(1)


def _sentence(report: dict[str, Any]) -> str:
    nodes = len(report["nodes"])
    where = "1 node" if nodes == 1 else f"{nodes} nodes"
    if report["outcome"] == "refused":
        return f"refused, nothing changed: {report['problem']}"
    if report["outcome"] == "in part":
        return f"in force on some nodes only, mend the others and reload: {report['problem']}"
    if report["outcome"] == "only checked":
        return f"{where} can use it; nothing changed yet{_later(report)}"
    return f"in force on {where}{_later(report)}"


def _later(report: dict[str, Any]) -> str:
    paths = ", ".join(each["path"] for each in report["differences"] if each["needs_restart"])
    return f"; only a restart changes {paths}" if paths else ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
