"""`toolway import`."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput
from toolway_transfer.export_command import parsed
from toolway_transfer.key_files import passphrase, text_of

app = typer.Typer(
    help="Take objects from a file: an export, or a file of another MCP program.",
    context_settings={"allow_interspersed_args": True},
    subcommand_metavar="",
)

COLUMNS = ("kind", "name", "action", "new_name", "reason")
OUTCOMES = {"done": "done", "only checked": "only checked", "refused": "refused, nothing was changed"}


@app.callback(invoke_without_command=True)
def import_file(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The file; - is standard input.")],
    only: Annotated[list[str] | None, typer.Option(help="Only these of its objects: KIND or KIND/NAME.")] = None,
    mode: Annotated[str, typer.Option(help="create, update or replace.")] = "create",
    conflict: Annotated[
        str | None, typer.Option(help="When an object exists and is different: skip, overwrite, rename or fail.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try it and report; change nothing.")] = False,
    trusted: Annotated[
        bool, typer.Option("--trusted", help="The file is your own: owners, roles and accounts are taken, too.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Upstreams may be at addresses that are not public.")
    ] = False,
    passphrase_file: Annotated[
        str | None, typer.Option("--passphrase-file", help="Has the passphrase in its first line; - asks for it.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="File with a private key, JWK or PEM; it stays here.")] = None,
    no_credentials: Annotated[bool, typer.Option("--no-credentials", help="Leave its credentials out.")] = False,
    given: Annotated[
        list[str] | None, typer.Option("--input", help="NAME=VALUE for a placeholder of the file.")
    ] = None,
) -> None:
    """Import a file, as a whole or not at all; exits with 1 when it is refused."""
    terminal: Terminal = context.obj
    document, secret = parsed(text_of(file), file), passphrase(passphrase_file)
    if key is not None:
        document, secret = _opened_here(document, key)
    order: dict[str, Any] = {
        "document": document,
        "what": only or [],
        "mode": mode,
        "conflict": conflict,
        "dry_run": dry_run,
        "trusted": trusted,
        "allow_private": allow_private,
        "passphrase": secret,
        "credentials": not no_credentials,
        "inputs": dict(map(_pair, given or ())),
    }
    report = terminal.api("POST", "/import", {name: value for name, value in order.items() if value is not None})
    terminal.show("objects", report["objects"], COLUMNS)
    outcome = f"{OUTCOMES[report['outcome']]} (the file: {report['source']})"
    for line in (*report["notes"], *_remarks(report["objects"]), outcome):
        terminal.note(line)
    if report["outcome"] == "refused":
        raise typer.Exit(1)


def _opened_here(document: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The private key does not leave this machine: a passphrase for this one request takes its place."""
    from toolway_transfer.document import read
    from toolway_transfer.envelope import read_key, seal, unseal

    found = read(document)
    if found.credentials is None:
        raise InvalidInput("the file has no credentials; leave out --key")
    once = secrets.token_urlsafe(32)
    sealed = seal(unseal(found.credentials, None, read_key(text_of(key))), once, (), is_random=True)
    return {**document, "credentials": sealed.model_dump(mode="json")}, once


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"--input {text} should be NAME=VALUE")
    return name, value


def _remarks(objects: list[dict[str, Any]]) -> list[str]:
    ignored = [f"{one['kind']}/{one['name']}: ignored {', '.join(one['ignored'])}" for one in objects if one["ignored"]]
    missing = [
        f"{one['kind']}/{one['name']}: send the credential at {', '.join(one['missing'])}"
        for one in objects
        if one["missing"] and one["action"] != "failed"
    ]
    return [*ignored, *missing]
