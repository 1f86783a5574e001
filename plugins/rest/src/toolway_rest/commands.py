"""`toolway rest …`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal
from toolway.plugin import ConfigError

if TYPE_CHECKING:
    from toolway_rest.document import Document
    from toolway_rest.operations import Book, Operation

app = typer.Typer(no_args_is_help=True, help="OpenAPI documents as tools.")

Where = Annotated[str, typer.Argument(help="An OpenAPI document in JSON or YAML, or - for standard input.")]
Include = Annotated[list[str] | None, typer.Option(help="Which operations, as `include` of an upstream.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Which of them not, as `exclude` of an upstream.")]
MaxSchema = Annotated[int, typer.Option(help="Bytes of one schema, as `max_schema` of an upstream.")]

COLUMNS = ("name", "method", "path", "tags", "bytes")


@app.callback()
def rest() -> None:
    """OpenAPI documents as tools."""


@app.command()
def tools(
    context: typer.Context,
    document: Where,
    include: Include = None,
    exclude: Exclude = None,
    max_schema: MaxSchema = 16_384,
) -> None:
    """Show which tools a document would become, without a gateway; `bytes` is what each adds to a list of tools."""
    from toolway_rest.builder import build
    from toolway_rest.document import parse
    from toolway_rest.reading import server_urls
    from toolway_rest.settings import RestUpstream

    terminal: Terminal = context.obj
    choice = {"include": tuple(include or ("*",)), "exclude": tuple(exclude or ()), "max_schema": max_schema}
    parsed = parse(_read(document))
    url = next(iter(server_urls(parsed.root.get("servers"))), "https://api.example")
    try:
        settings = RestUpstream(name="document", endpoints=(url,), document=document, **choice)
    except ValueError as error:
        raise ConfigError(f"the options cannot be used: {_first_line(error)}") from None
    book = build(settings, parsed)
    terminal.show("tools", _rows(book), COLUMNS)
    for line in (*_wanted(parsed), *book.problems):
        terminal.note(line.removeprefix("upstream 'document': "))


def _read(document: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if document == "-" else Path(document).read_bytes()
    except OSError as error:
        what = f"cannot read {document} ({error.strerror})"
        raise ConfigError(f"{what}; give a file, or - and the document on standard input") from None


def _rows(book: Book) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "method": book.operations[item.name].method,
            "path": _path(book.operations[item.name]),
            "tags": list(book.operations[item.name].tags),
            "bytes": len(item.raw),
        }
        for item in book.items
    ]


def _path(operation: Operation) -> str:
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in operation.template)


def _wanted(document: Document) -> list[str]:
    """What the settings of an upstream need besides: where the API is, and who has to be proven how."""
    from toolway_rest.document import mapping
    from toolway_rest.reading import server_urls

    servers = server_urls(document.root.get("servers"))
    schemes = mapping(mapping(document.root.get("components")).get("securitySchemes"))
    suggested = [f"security scheme {name}: {suggestion(name, each)}" for name, each in schemes.items()]
    return [f"servers that the document names: {', '.join(servers[:5]) or 'none'}", *suggested[:10]]


def suggestion(name: str, described: Any) -> str:
    """What to write into the settings of an upstream for a security scheme."""
    from toolway_rest.document import mapping, text

    scheme = mapping(described)
    kind, word = text(scheme.get("type")), text(scheme.get("scheme")).lower()
    if kind == "apiKey" or (kind == "http" and word in ("bearer", "basic")):
        return f'credentials = {{ {_key(name)} = "env:…" }}' + (
            ", the value is user:password" if word == "basic" else ""
        )
    grant = mapping(mapping(scheme.get("flows")).get("clientCredentials"))
    if kind == "oauth2" and grant:
        url = text(grant.get("tokenUrl"))[:200]
        return (
            f'auth = {{ type = "client-credentials", token_url = "{url}", client_id = "…", client_secret = "env:…" }}'
        )
    if kind in ("oauth2", "openIdConnect"):
        return "users' own accounts, with the plugin toolway-user-oauth"
    return f"{kind or 'something'} {word}".strip() + " cannot be used; set auth to what the API accepts instead"


def _key(name: str) -> str:
    """A name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else '"' + re.sub(r'[\\"\x00-\x1f]', "_", name) + '"'


def _first_line(error: ValueError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("Value error")), lines[0])[:300]
