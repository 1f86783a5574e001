"""Commands that use a server as a client would: call a tool, read a resource, get a prompt."""

import json
from typing import Annotated, Any

import typer

from toolway.cli import complete
from toolway.cli.client import FAILED, WRONG_USE, Failure, client
from toolway.cli.profile import options
from toolway.cli.show import Progress, as_json

ServerOption = Annotated[
    str, typer.Option("--server", help="The virtual server to use.", autocompletion=complete.names("/servers"))
]
Arguments = Annotated[list[str] | None, typer.Option("--arg", "-a", help="key=value; a JSON value, or text.")]


def _named(kind: str) -> Any:
    complete_names = complete.names("/items", "exposed", server="all", kind=kind)
    return typer.Argument(help="Exposed or canonical name.", autocompletion=complete_names)


def call(
    tool: Annotated[str, _named("tool")],
    arg: Arguments = None,
    arguments: Annotated[str | None, typer.Option("--args-json", help="All arguments as one JSON object.")] = None,
    server: ServerOption = "all",
) -> None:
    """Call a tool and print what it returns; exit code 1 when the tool reports an error."""
    values = {key: _value(text) for key, text in _pairs(arg).items()}
    if arguments is not None and not isinstance(values := _value(arguments), dict):
        raise Failure("--args-json must be a JSON object", WRONG_USE)
    result = _ask(server, "tools/call", {"name": tool, "arguments": values})
    _print(result, [_text(part) for part in result.get("content", [])])
    if result.get("isError"):
        raise typer.Exit(FAILED)


def read(uri: Annotated[str, typer.Argument(help="The resource's URI.")], server: ServerOption = "all") -> None:
    """Read a resource."""
    result = _ask(server, "resources/read", {"uri": uri})
    _print(result, [_text(part) for part in result["contents"]])


def prompt(name: Annotated[str, _named("prompt")], arg: Arguments = None, server: ServerOption = "all") -> None:
    """Get a prompt's messages."""
    result = _ask(server, "prompts/get", {"name": name, "arguments": _pairs(arg)})
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


def _pairs(pairs: list[str] | None) -> dict[str, str]:
    if wrong := [pair for pair in pairs or () if "=" not in pair]:
        raise Failure(f"--arg {wrong[0]!r} must be key=value", WRONG_USE)
    return dict(pair.split("=", 1) for pair in pairs or ())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
