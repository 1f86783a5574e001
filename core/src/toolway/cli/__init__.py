"""The `toolway` command: every subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolway.cli import calls, objects
from toolway.cli.client import FAILED, Failure, client, mcp_path
from toolway.cli.profile import load_profile, options, save_profile
from toolway.cli.show import as_json, note, show

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Toolway: one endpoint for many MCP servers."
)
app.add_typer(objects.upstreams, name="upstreams")
app.add_typer(objects.servers, name="servers")
app.add_typer(objects.items, name="items")
app.command("call")(calls.call)
app.command("read")(calls.read)
app.command("prompt")(calls.prompt)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; default: toolway.toml if it is there.")
]


@app.callback()
def main_options(
    url: Annotated[str | None, typer.Option(help="The gateway's base URL.")] = None,
    token: Annotated[str | None, typer.Option(help="A token for its API.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Options for every command."""
    options.url, options.token, options.json = url, token, json


@app.command()
def serve(
    config: ConfigFile = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also register a small bundled MCP server.")] = False,
) -> None:
    """Run the gateway until Ctrl-C."""
    from toolway.lifecycle import run

    raise typer.Exit(run(config, demo=demo))


@app.command()
def check(config: ConfigFile = None) -> None:
    """Check configuration and plugins without starting."""
    from toolway.checking import check_configuration

    findings = check_configuration(config)
    if options.json:
        as_json([{"level": finding.level, "message": finding.message} for finding in findings])
    else:
        print(*(f"{finding.level}: {finding.message}\n" for finding in findings), sep="", end="")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(FAILED)
    note("the configuration is good")


@app.command()
def schema(config: ConfigFile = None) -> None:
    """Print the JSON Schema of the configuration, with every enabled plugin's settings."""
    from toolway.checking import schema_of_configuration

    as_json(schema_of_configuration(config))


@app.command()
def plugins(config: ConfigFile = None) -> None:
    """List plugins: installed, enabled, broken; with distribution, version and hooks."""
    from toolway.checking import list_plugins

    show("Plugins", list_plugins(config), ("name", "state", "distribution", "version", "hooks", "error"))


@app.command()
def login(
    token: Annotated[str, typer.Option(prompt=True, hide_input=True, help="A token for the API.")],
    url: Annotated[str | None, typer.Option(help="The gateway's base URL.")] = None,
) -> None:
    """Check a token and keep it for the next commands."""
    options.url, options.token = url or options.url, token
    client().api("GET", "/upstreams?limit=1")
    profile = load_profile()
    path = save_profile(profile)
    note(f"logged in to {profile.url}; saved in {path}")


@app.command()
def stdio(server: Annotated[str, typer.Option(help="The virtual server to bridge to.")] = "all") -> None:
    """Bridge a client that can only start a command to a server of the gateway."""
    import asyncio

    from toolway.bridge import run_bridge

    profile = load_profile()
    asyncio.run(run_bridge(profile.url + mcp_path(server), profile.token))


def main() -> None:
    """Run the command line; failures become one sentence and an exit code. `--json` may stand anywhere."""
    arguments = sys.argv[1:]
    if "--json" in arguments:
        arguments.remove("--json")
        arguments.insert(0, "--json")
    try:
        app(arguments)
    except Failure as failure:
        note(f"toolway: {failure}")
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
