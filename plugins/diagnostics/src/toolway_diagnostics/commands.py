"""`toolway doctor` and `toolway diagnose`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput, Kernel

doctor_app = typer.Typer(help="Find out what is wrong with a gateway, and what to do about it.")
diagnose_app = typer.Typer(help="Write a report of a gateway for whoever helps; it has no secrets.")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Look at this configuration, whether or not a gateway runs.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The zip archive to write, with report.html and report.json.")
]


@doctor_app.callback(invoke_without_command=True)
def doctor(context: typer.Context, config: ConfigFile = None) -> None:
    """Look at everything that could be wrong, and tell what to do about it; exits with 1 if something is wrong.

    Without --config it asks the gateway that runs.
    """
    terminal: Terminal = context.obj
    with terminal.progress("looking"):
        found = _of_file(terminal, config) if config else _of_gateway(terminal)
    terminal.show("checks", found, ("check", "level", "found"))
    wrong = [each for each in found if each["level"] != "ok"]
    for each in wrong:
        terminal.note(f"{each['level']}: {each['check']}: {each['found']}; {each['todo']}".removesuffix("; "))
    if any(each["level"] == "error" for each in wrong):
        raise typer.Exit(1)
    terminal.note("nothing is wrong now, but see the warnings" if wrong else "nothing is wrong")


@diagnose_app.callback(invoke_without_command=True)
def diagnose(context: typer.Context, output: Output = Path("toolway-diagnostics.zip")) -> None:
    """Write a report of the node that answers: versions, configuration, health, metrics, logs, tasks and more."""
    terminal: Terminal = context.obj
    pieces: list[bytes] = []
    with terminal.progress("collecting"):
        terminal.download("/diagnostics/bundle", pieces.append)
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # one that was there before may be open to others
            file.writelines(pieces)
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}; name another file with -o") from None
    terminal.note(f"{output} is written; unpack it and open report.html. Read it before you give it away.")


def _of_gateway(terminal: Terminal) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = terminal.api("GET", "/diagnostics/checks")["items"]
    except Exception:
        terminal.note("if it does not run, or not with the plugin diagnostics: toolway doctor -c toolway.toml")
        raise
    return found


def _of_file(terminal: Terminal, config: Path) -> list[dict[str, Any]]:
    from toolway_diagnostics.checks import checks_of_files
    from toolway_diagnostics.finding import Finding, good, run

    found: list[Finding] = []

    async def look(kernel: Kernel) -> None:
        found.extend(await run(checks_of_files(), kernel))

    said = terminal.inspect(config, look)
    first = [Finding(check=_subject(sentence), level=_level(level), found=sentence) for level, sentence in said]
    if not found:
        terminal.note("the gateway cannot be built; correct this first, the rest is looked at then")
    return [each.model_dump() for each in [*(first or [good("configuration", str(config))]), *found]]


def _subject(sentence: str) -> str:
    return "database" if sentence.startswith("the database ") else "configuration"


def _level(level: str) -> Any:
    return level
