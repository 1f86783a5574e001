"""`toolway export`, and `toolway export rekey`, which needs no gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput
from toolway_transfer.key_files import passphrase, public_jwk, text_of

Output = Annotated[str | None, typer.Option("--output", "-o", help="The file to write; default: standard output.")]
PassphraseFile = Annotated[
    str | None, typer.Option("--passphrase-file", help="Has the passphrase in its first line; - asks for it.")
]
Recipients = Annotated[
    list[str] | None, typer.Option("--recipient", help="File with a public key, JWK or PEM; may be repeated.")
]


class _Export(TyperGroup):
    """What is no subcommand is what to export."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`toolway export upstreams` is `toolway export objects upstreams`, and its help is that one's."""
        if not args or args[0] not in self.commands:
            args = ["objects", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Export, help="Write what is declared by API to a file: everything, or some of it.")


@app.command()
def objects(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND[/NAME]]...", help="Collections or single objects; default: everything."),
    ] = None,
    output: Output = None,
    passphrase_file: PassphraseFile = None,
    recipient: Recipients = None,
) -> None:
    """Export objects; credentials only encrypted, for a passphrase or recipients' public keys.

    `toolway export rekey FILE` encrypts those of an export for others, `toolway export schema` prints its JSON Schema.
    """
    terminal: Terminal = context.obj
    order: dict[str, Any] = {"what": what or [], "recipients": [public_jwk(each) for each in recipient or ()]}
    if (secret := passphrase(passphrase_file, is_new=True)) is not None:
        order["passphrase"] = secret
    made = terminal.api("POST", "/export", order)
    _write(terminal, made, output)
    terminal.note(f"{_counted(made)} exported, {'with' if 'credentials' in made else 'without'} credentials")


@app.command()
def rekey(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="An export with credentials.")],
    output: Output = None,
    passphrase_file: PassphraseFile = None,
    key: Annotated[str | None, typer.Option(help="File with a private key, JWK or PEM, that opens it.")] = None,
    new_passphrase_file: Annotated[
        str | None,
        typer.Option("--new-passphrase-file", help="Has the new passphrase in its first line; - asks for it."),
    ] = None,
    recipient: Recipients = None,
) -> None:
    """Encrypt the credentials of an export anew, for others; no gateway is asked."""
    from toolway_transfer.document import document, read
    from toolway_transfer.envelope import read_key, seal, unseal

    raw = parsed(text_of(file), file)
    found = read(raw)
    if found.credentials is None:
        raise InvalidInput(f"{file} has no credentials; export it with some")
    opened = unseal(found.credentials, passphrase(passphrase_file), read_key(text_of(key)) if key else None)
    recipients = [read_key(text_of(each)) for each in recipient or ()]
    sealed = seal(opened, passphrase(new_passphrase_file, is_new=True), recipients)
    _write(context.obj, document(raw["objects"], sealed), output)


@app.command()
def schema() -> None:
    """Print the JSON Schema of exports; no gateway is asked."""
    from toolway_transfer.document import schema as of_documents

    typer.echo(formatted(of_documents()), nl=False)


def parsed(text: str, source: str) -> dict[str, Any]:
    """A JSON object, with the comments that VS Code allows in its files; raises InvalidInput."""
    from toolway_transfer.comments import without_comments

    try:
        value = json.loads(without_comments(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{source} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{source} is no JSON object; it is not an export")
    return value


def formatted(value: Any) -> str:
    """JSON that is the same for the same objects, and whose changes are told line by line."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _write(terminal: Terminal, value: Any, output: str | None) -> None:
    if output is None or output == "-":
        typer.echo(formatted(value), nl=False)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(formatted(value))
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}") from None
    terminal.note(f"written to {Path(output)}")


def _counted(made: dict[str, Any]) -> str:
    lists: Sequence[Any] = list(made["objects"].values())
    count = sum(map(len, lists))
    return f"{count} object{'' if count == 1 else 's'}"
