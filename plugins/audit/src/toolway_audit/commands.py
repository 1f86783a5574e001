"""`toolway audit …`."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput

app = typer.Typer(no_args_is_help=True, help="The audit trail: who changed or called what.")

Actor = Annotated[str | None, typer.Option(help="Of this principal, such as user:alice, or user:*.")]
Action = Annotated[str | None, typer.Option(help="This action, such as tokens.create, or tokens.*.")]
Object = Annotated[str | None, typer.Option("--object", help="About this object, such as upstreams/billing.")]
Outcome = Annotated[str | None, typer.Option(help="With this outcome, such as ok, error or refused.")]
Since = Annotated[str | None, typer.Option(help="Not before this time, such as 2030-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Before this time.")]

COLUMNS = ("seq", "at", "actor", "action", "object", "outcome", "address", "request_id")


@app.command("list")
def list_records(
    context: typer.Context,
    actor: Actor = None,
    action: Action = None,
    about: Object = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """Search the trail, newest records first."""
    terminal: Terminal = context.obj
    filters = _filters(actor, action, about, outcome, since, until)
    terminal.show("audit records", islice(terminal.pages("/audit", **filters), limit), COLUMNS)


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Where to write; the standard output by default.")] = None,
    actor: Actor = None,
    action: Action = None,
    about: Object = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the trail as JSON lines, oldest records first; all of it can be verified without the gateway."""
    terminal: Terminal = context.obj
    path = f"/audit/export?{urlencode(_filters(actor, action, about, outcome, since, until))}"
    if file is None:
        terminal.download(path, sys.stdout.buffer.write)
        return
    with file.open("wb") as output:
        terminal.download(path, output.write)
    terminal.note(f"written to {file}; verify it with: toolway audit verify --file {file}")


@app.command()
def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Option(help="An export to verify, in place of the gateway's trail.")] = None,
    known: Annotated[str | None, typer.Option(help="An end, number:hash, that an earlier verify printed.")] = None,
) -> None:
    """Verify that no record was altered, removed, added or moved; fails with the first problem."""
    terminal: Terminal = context.obj
    found = _of_gateway(terminal, known) if file is None else _of_file(file, known)
    terminal.print(found)
    if found["problems"]:
        raise InvalidInput(f"the audit trail is not intact: {found['problems'][0]['what']}")
    terminal.note(f"{found['checked']} records are intact; {found['note']}")


def _of_gateway(terminal: Terminal, known: str | None) -> dict[str, Any]:
    checked, problems = 0, list[Any]()
    page: dict[str, Any] = {"next_cursor": ""}
    query = {"known": known} if known else {}
    while (cursor := page["next_cursor"]) is not None:
        page = terminal.api("GET", f"/audit/verify?{urlencode({**query, **({'cursor': cursor} if cursor else {})})}")
        checked, problems, query = checked + page["checked"], [*problems, *page["problems"]], {}
    return {"checked": checked, "problems": problems, "end": page["end"], "note": "keep the end elsewhere"}


def _of_file(file: Path, known: str | None) -> dict[str, Any]:
    from toolway_audit.verifying import verify_lines

    if known is not None:
        raise InvalidInput("--known is for the gateway's trail; search the file for the number and compare the hash")
    try:
        with file.open("rb") as lines:
            verdict, is_selection = verify_lines(lines)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    note = "it is a selection: missing ones cannot be noticed" if is_selection else "up to the end of the export"
    problems = [{"seq": each.seq, "what": each.what} for each in verdict.problems]
    return {"checked": verdict.checked, "problems": problems, "end": str(verdict.end), "note": note}


def _filters(*values: str | None) -> dict[str, str]:
    names = ("actor", "action", "object", "outcome", "since", "until")
    return {name: value for name, value in zip(names, values, strict=True) if value}
