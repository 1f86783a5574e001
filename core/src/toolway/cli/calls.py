"""Commands that use a server as a client would: call a tool, read a resource, get a prompt."""

import json
from typing import Annotated, Any

import typer

from toolway.cli.client import FAILED, WRONG_USE, Failure, client
from toolway.cli.profile import options
from toolway.cli.show import Progress, as_json
from toolway.hookspecs.commands import names

ServerOption = Annotated[
    str, typer.Option("--server", help="The virtual server to use.", autocompletion=names("/servers"))
]
Given = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Arguments; the value for a tool is JSON or else text."),
]
Option = Annotated[list[str] | None, typer.Option("--arg", "-a", help="The same as an option.")]


def _named(kind: str) -> Any:
    complete_names = names("/items", "exposed", server="all", kind=kind)
    return typer.Argument(help="Exposed or canonical name.", autocompletion=complete_names)


def call(
    tool: Annotated[str, _named("tool")],
    given: Given = None,
    arg: Option = None,
    arguments: Annotated[str | None, typer.Option("--args-json", help="All arguments as one JSON object.")] = None,
    server: ServerOption = "all",
) -> None:
    """Call a tool and print what it returns.

    The exit code is 1 when the tool reports an error.
    """
    whole = _value(arguments or "{}")
    if not isinstance(whole, dict):
        raise Failure("--args-json must be a JSON object", WRONG_USE)
    values = {key: _value(text) for key, text in _pairs(given, arg).items()}
    result = _ask(server, "tools/call", {"name": tool, "arguments": {**whole, **values}})
    _print(result, [_text(part) for part in result.get("content", [])])
    if result.get("isError"):
        raise typer.Exit(FAILED)


def read(uri: Annotated[str, typer.Argument(help="The resource's URI.")], server: ServerOption = "all") -> None:
    """Read a resource."""
    result = _ask(server, "resources/read", {"uri": uri})
    _print(result, [_text(part) for part in result["contents"]])


def prompt(
    name: Annotated[str, _named("prompt")], given: Given = None, arg: Option = None, server: ServerOption = "all"
) -> None:
    """Get a prompt's messages."""
    result = _ask(server, "prompts/get", {"name": name, "arguments": _pairs(given, arg)})
    _print(result, [f"{message['role']}: {_text(message['content'])}" for message in result["messages"]])


def _ask(server: str, method: str, params: dict[str, Any]) -> Any:
    with Progress(method) as progress:
        result = client().mcp(server, method, params, progress.notified)
    if result.get("resultType") == "input_required":
        raise Failure("the server asks for input, which this command cannot give; use an interactive client")
    return result


def _print(result: dict[str, Any], lines: list[str]) -> None:
    if options.json:
        as_json(result)
    else:
        print(*lines, sep="\n")


def _text(part: dict[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    if part.get("type") == "resource":
        return _text(part["resource"])
    size = len(part.get("data", part.get("blob", "")))
    return f"[{part.get('type', 'blob')} {part.get('mimeType', '')}, {size} base64 characters; use --json to see them]"


def _pairs(*given: list[str] | None) -> dict[str, str]:
    pairs = [pair for each in given for pair in each or ()]
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise Failure(f"the argument {wrong[0]!r} must be key=value", WRONG_USE)
    return dict(pair.split("=", 1) for pair in pairs)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
