"""The `toolway` command: every subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from toolway import __version__
from toolway.cli import accounts, calls, declared, objects, own
from toolway.cli.client import FAILED, INTERRUPTED, REFUSED, WRONG_USE, Failure, client, mcp_path
from toolway.cli.extensions import Commands, Terminal
from toolway.cli.profile import options
from toolway.cli.show import as_json, note, sentence, show

VALUED = ("--url", "--token", "--profile")
WATCH_SECONDS = 2.0
CLEAR = "\x1b[H\x1b[J"
RUN, ADMINISTER, USE = "Run a gateway", "Administer a gateway", "Use what it serves"

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help takes half a second
    context_settings={"help_option_names": ["-h", "--help"], "obj": Terminal()},
    help="Toolway: one endpoint for many MCP servers.",
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; default: toolway.toml if it is there.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"toolway {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    url: Annotated[str | None, typer.Option(help="The gateway's base URL; may stand anywhere.")] = None,
    token: Annotated[str | None, typer.Option(help="A token for its API; may stand anywhere.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="A gateway that `toolway login` saved; may stand anywhere.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts; may stand anywhere.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat a command that only looks, until Ctrl-C; may stand anywhere.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options for every command."""
    options.url, options.token, options.profile, options.json, options.watch = url, token, profile, json, watch


@app.command(rich_help_panel=RUN)
def serve(
    config: ConfigFile = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also register a small bundled MCP server.")] = False,
) -> None:
    """Run the gateway until Ctrl-C."""
    from toolway.cli.serve import run as serve_until_stopped

    raise typer.Exit(serve_until_stopped(config, demo=demo))


@app.command(rich_help_panel=RUN)
def check(config: ConfigFile = None) -> None:
    """Check configuration and plugins without serving."""
    from toolway.cli.checking import check_configuration

    findings = check_configuration(config)
    if options.json:
        as_json([{"level": finding.level, "message": finding.message} for finding in findings])
    else:
        print(*(f"{finding.level}: {finding.message}\n" for finding in findings), sep="", end="")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(FAILED)
    note("the configuration is good")


@app.command(rich_help_panel=RUN)
def schema(config: ConfigFile = None) -> None:
    """Print the JSON Schema of the configuration.

    It has the settings of every enabled plugin.
    """
    from toolway.cli.checking import schema_of_configuration

    as_json(schema_of_configuration(config))


@app.command(rich_help_panel=RUN)
def plugins(config: ConfigFile = None) -> None:
    """List plugins: installed, enabled or broken."""
    from toolway.cli.checking import list_plugins

    show("plugins", list_plugins(config), ("name", "state", "distribution", "version", "hooks", "error"))


for command in (own.login, own.logout, own.whoami, own.password, own.status, declared.get, declared.apply):
    app.command(rich_help_panel=ADMINISTER)(command)
app.command("api", rich_help_panel=ADMINISTER)(declared.request)
app.command("call", rich_help_panel=USE)(calls.call)
app.command("read", rich_help_panel=USE)(calls.read)
app.command("prompt", rich_help_panel=USE)(calls.prompt)


@app.command(rich_help_panel=USE)
def stdio(server: calls.ServerOption = "all") -> None:
    """Bridge a client that can only start a command to a server."""
    import asyncio

    from toolway.cli.bridge import run_bridge

    profile = client().profile
    asyncio.run(run_bridge(profile.url + mcp_path(server), profile.token))


for name, group in {
    "profiles": own.profiles,
    "sessions": own.sessions,
    "upstreams": objects.upstreams,
    "servers": objects.servers,
    "items": objects.items,
    "users": accounts.users,
    "service-accounts": accounts.services,
    "teams": accounts.teams,
}.items():
    app.add_typer(group, name=name, rich_help_panel=ADMINISTER)


def run() -> None:
    """Run the command line; failures become one sentence and an exit code."""
    arguments = _options_first(sys.argv[1:])
    try:
        exit_code = _done(arguments)
        while options.watch and exit_code not in (WRONG_USE, REFUSED, INTERRUPTED):
            sys.stdout.flush()
            time.sleep(WATCH_SECONDS)
            if sys.stdout.isatty():
                print(CLEAR, end="")
            exit_code = _done(arguments)
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
    sys.exit(exit_code)


def _done(arguments: Sequence[str]) -> int:
    try:
        app(arguments)
    except Failure as failure:
        note(f"toolway: {failure}")
        return failure.exit_code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED * bool(ended.code)
    except Exception as error:  # noqa: BLE001 - told; of what is unexpected without its text
        note(f"toolway: {sentence(error)}")
    return FAILED


def _options_first(arguments: Sequence[str]) -> list[str]:
    """The options for every command, which may stand anywhere, before the command's name."""
    first, rest, words = list[str](), list[str](), iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word.partition("=")[0] in (*VALUED, "--json", "--watch"):
            first += [word, *islice(words, int(word in VALUED))]
        else:
            rest.append(word)
    return [*first, *rest]
