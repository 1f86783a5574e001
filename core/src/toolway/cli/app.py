"""The `toolway` command: every subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from toolway import __version__
from toolway.cli import accounts, calls, objects
from toolway.cli.client import FAILED, INTERRUPTED, Failure, client, mcp_path
from toolway.cli.extensions import Commands, Terminal
from toolway.cli.profile import load_profile, options, save_profile
from toolway.cli.show import as_json, note, show
from toolway.errors import ToolwayError

RUN, ADMINISTER, USE = "Run a gateway", "Administer a gateway", "Use what it serves"

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help takes half a second
    context_settings={"help_option_names": ["-h", "--help"]},
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
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The gateway's base URL; may stand anywhere.")] = None,
    token: Annotated[str | None, typer.Option(help="A token for its API; may stand anywhere.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options for every command."""
    options.url, options.token, options.json = url, token, json
    context.obj = Terminal()


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


@app.command(rich_help_panel=ADMINISTER)
def login(
    user: Annotated[str | None, typer.Option(help="Sign in as this user, whose password is asked for.")] = None,
) -> None:
    """Sign in with a token or as a user, and keep it for the next commands.

    Give a token with --token, or type it when asked; it is kept together with the URL.
    """
    options.token = accounts.sign_in(user) if user else options.token or typer.prompt("Token", hide_input=True)
    client().api("GET", "/session")
    profile = load_profile()
    path = save_profile(profile)
    note(f"logged in to {profile.url}; saved in {path}")


@app.command(rich_help_panel=ADMINISTER)
def logout() -> None:
    """End the session of the saved profile, and forget its token."""
    profile = load_profile()
    if (profile.token or "").startswith(accounts.SESSION):
        client().api("DELETE", "/session")
    save_profile(replace(profile, token=None))
    note(f"logged out of {profile.url}")


app.command("call", rich_help_panel=USE)(calls.call)
app.command("read", rich_help_panel=USE)(calls.read)
app.command("prompt", rich_help_panel=USE)(calls.prompt)


@app.command(rich_help_panel=USE)
def stdio(server: calls.ServerOption = "all") -> None:
    """Bridge a client that can only start a command to a server."""
    import asyncio

    from toolway.cli.bridge import run_bridge

    profile = load_profile()
    asyncio.run(run_bridge(profile.url + mcp_path(server), profile.token))


app.add_typer(objects.upstreams, name="upstreams", rich_help_panel=ADMINISTER)
app.add_typer(objects.servers, name="servers", rich_help_panel=ADMINISTER)
app.add_typer(objects.items, name="items", rich_help_panel=ADMINISTER)
app.add_typer(accounts.users, name="users", rich_help_panel=ADMINISTER)
app.add_typer(accounts.services, name="service-accounts", rich_help_panel=ADMINISTER)
app.add_typer(accounts.teams, name="teams", rich_help_panel=ADMINISTER)


def run() -> None:
    """Run the command line; failures become one sentence and an exit code."""
    try:
        app(_options_first(sys.argv[1:]))
    except Failure as failure:
        note(f"toolway: {failure}")
        sys.exit(failure.exit_code)
    except ToolwayError as error:
        note(f"toolway: {error.message}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _options_first(arguments: Sequence[str]) -> list[str]:
    """The options for every command, which may stand anywhere, before the command's name."""
    first, rest = [], []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word.partition("=")[0] in ("--url", "--token", "--json"):
            first += [word, *islice(words, int(word in ("--url", "--token")))]
        else:
            rest.append(word)
    return [*first, *rest]
