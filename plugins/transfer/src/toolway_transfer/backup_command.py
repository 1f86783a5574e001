"""`toolway backup` and `toolway restore`: on the machine of the gateway, beside its configuration file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolway.hookspecs.commands import Terminal

if TYPE_CHECKING:
    from toolway_transfer.places import Place

NO_COMMANDS = {"context_settings": {"allow_interspersed_args": True}, "subcommand_metavar": ""}

app = typer.Typer(help="Back up database and root key, while the gateway runs.", **NO_COMMANDS)  # type: ignore[arg-type]
restoring = typer.Typer(help="Restore database and root key, while no gateway runs.", **NO_COMMANDS)  # type: ignore[arg-type]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; default: toolway.toml if it is there.")
]


@app.callback(invoke_without_command=True)
def make(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    config: ConfigFile = None,
) -> None:
    """Write database and root key into one file; keep it as you keep the key."""
    from toolway_transfer.backup import KEY, backup

    terminal: Terminal = context.obj
    members = backup(_place(terminal, config), output)
    terminal.note(f"{output} has {', '.join(members)}")
    if KEY not in members:
        terminal.note("the root key is kept elsewhere (gateway.root_key): without it the backup is of no use")


@restoring.callback(invoke_without_command=True)
def bring_back(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    config: ConfigFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the database and key that are there.")] = False,
) -> None:
    """Put database and root key of a backup into their places."""
    from toolway_transfer.backup import KEY, restore

    terminal: Terminal = context.obj
    place = _place(terminal, config)
    members = restore(place, file, force=force)
    terminal.note(f"restored {', '.join(members)}; start the gateway")
    if KEY in members and not place.has_own_key:
        terminal.note(f"gateway.root_key names another key: give it what {place.data_dir / KEY} has, or remove it")


def _place(terminal: Terminal, config: Path | None) -> Place:
    from toolway_transfer.places import place_of
    from toolway_transfer.resolving import resolved

    return place_of(config, resolve=partial(resolved, terminal, config))
