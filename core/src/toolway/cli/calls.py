"""Commands that use a server as a client would: call a tool, read a resource, get a prompt."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from toolway.cli.client import FAILED, Failure
from toolway.cli.context import client, wants_json
from toolway.cli.show import Progress, as_json

Server = Annotated[str, typer.Option(help="The virtual server to use.")]
Argument = Annotated[list[str] | None, typer.Option("--arg", "-a", help="key=value; a JSON value, or text.")]


def call(
    tool: Annotated[str, typer.Argument(help="Exposed or canonical name.")],
    arg: Argument = None,
    arguments: Annotated[str | None, typer.Option("--args-json", help="All arguments as one JSON object.")] = None,
    server: Server = "all",
) -> None:
    """Call a tool and print what it returns; exit code 1 when the tool reports an error."""
    values = _object(arguments) if arguments else _pairs(arg or [], parse=True)
    with Progress(f"calling {tool}") as progress:
        result = client().mcp(server, "tools/call", {"name": tool, "arguments": values}, progress.notified)
    _print_content(result, result.get("content", []))
    if result.get("isError"):
        raise typer.Exit(FAILED)


def read(uri: Annotated[str, typer.Argument(help="The resource's URI.")], server: Server = "all") -> None:
    """Read a resource."""
    with Progress(f"reading {uri}") as progress:
        result = client().mcp(server, "resources/read", {"uri": uri}, progress.notified)
    _print_content(result, result.get("contents", []))


def prompt(
    name: Annotated[str, typer.Argument(help="Exposed or canonical name.")],
    arg: Argument = None,
    server: Server = "all",
) -> None:
    """Get a prompt's messages."""
    values = _pairs(arg or [], parse=False)
    with Progress(f"getting {name}") as progress:
        result = client().mcp(server, "prompts/get", {"name": name, "arguments": values}, progress.notified)
    if wants_json():
        as_json(result)
        return
    for message in result.get("messages", []):
        print(f"{message.get('role', '')}: {_text(message.get('content', {}))}")


def _print_content(result: dict[str, Any], content: list[dict[str, Any]]) -> None:
    if result.get("resultType") == "input_required":
        raise Failure("the server asks for input, which this command cannot give; use an interactive client", FAILED)
    if wants_json():
        as_json(result)
        return
    for part in content:
        print(_text(part))


def _text(part: dict[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    if part.get("type") == "resource":
        return _text(part.get("resource", {}))
    size = len(part.get("data", part.get("blob", "")))
    return f"[{part.get('type', 'blob')} {part.get('mimeType', '')}, {size} base64 characters; use --json to see them]"


def _pairs(pairs: list[str], *, parse: bool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Failure(f"--arg {pair!r} must be key=value", 2)
        values[key] = _value(value) if parse else value
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise Failure(f"--args-json is not JSON: {error}", 2) from None
    if not isinstance(value, dict):
        raise Failure("--args-json must be a JSON object", 2)
    return value
