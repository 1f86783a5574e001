"""`toolway cache …`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Copies of results: what they are worth, what is kept, dropping them.")


class Method(StrEnum):
    """What is called."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"


METHODS = {Method.TOOL: "tools/call", Method.PROMPT: "prompts/get", Method.RESOURCE: "resources/read"}
USES = ("hits", "stale", "joined", "misses", "refreshes", "entries", "bytes", "oldest", "evictions")
ENTRY = ("name", "server", "principal", "kind", "age", "fresh_for", "bytes", "hits", "key")

ByItem = Annotated[bool, typer.Option("--items", help="One line for each tool, prompt and resource.")]
Upstream = Annotated[str, typer.Option(help="Of this upstream.")]
Server = Annotated[str, typer.Option(help="Of calls through this server.")]
Tool = Annotated[str, typer.Option(help="Of this tool, as upstream/tool.")]
Pattern = Annotated[str, typer.Option(help="Of items that match, such as 'billing/*'.")]
Key = Annotated[str, typer.Option(help="The copy whose key begins so.")]
WarmServer = Annotated[str, typer.Argument(help="The server that it is called through.")]
Name = Annotated[str, typer.Argument(help="The tool, prompt or URI, as the server shows it.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Arguments; the value for a tool is JSON or else text."),
]
Kind = Annotated[Method, typer.Option(help="What it is.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command()
def stats(context: typer.Context, items: ByItem = False) -> None:
    """Show how often copies were of use on the node that answers."""
    terminal: Terminal = context.obj
    if items:
        return terminal.show("cache", terminal.pages("/cache/items"), ("name", "server", *USES))
    found = terminal.api("GET", "/cache")
    rows = [{"of": kind[:-1], **each} for kind in ("servers", "upstreams") for each in found[kind]]
    total = {"of": "all", "name": "", **{name: found[name] for name in USES}}
    terminal.show("cache", [*rows, total], ("of", "name", *USES))
    terminal.note(f"node {found['node']}: {found['bytes']:,} of {found['memory']:,} bytes")


@app.command()
def entries(context: typer.Context) -> None:
    """List the copies on the node that answers, without what is in them."""
    terminal: Terminal = context.obj
    terminal.show("copies", terminal.pages("/cache/entries"), ENTRY)


@app.command()
def flush(
    context: typer.Context,
    upstream: Upstream = "",
    server: Server = "",
    tool: Tool = "",
    pattern: Pattern = "",
    key: Key = "",
    everything: Everything = False,
) -> None:
    """Drop the copies that match all that is given, on every node."""
    terminal: Terminal = context.obj
    if tool and pattern:
        raise InvalidInput("give --tool or --pattern, not both")
    chosen = {"upstream": upstream, "server": server, "items": tool or pattern, "key": key}
    body = {name: value for name, value in chosen.items() if value}
    if bool(body) is everything:
        raise InvalidInput("say which copies: --upstream, --server, --tool, --pattern or --key; or --all, alone")
    if tool:
        body["method"] = "tools/call"
    answer = terminal.api("POST", "/cache/flush", body or {"everything": True})
    terminal.print(answer)
    terminal.note(f"{answer['removed']} copies were dropped, on {len(answer['nodes'])} nodes")
    if answer["silent"]:
        terminal.note(f"not heard of in time: {', '.join(answer['silent'])}; they drop theirs when they hear of it")


@app.command()
def warm(
    context: typer.Context, server: WarmServer, name: Name, arguments: Arguments = None, kind: Kind = Method.TOOL
) -> None:
    """Make a call as yourself, so that a copy of its result is there for clients of both eras of MCP."""
    terminal: Terminal = context.obj
    given = dict(_argument(text, kind) for text in arguments or ())
    call = {"server": server, "name": name, "method": METHODS[kind], "arguments": given}
    answer = terminal.api("POST", "/cache/warm", {"calls": [{**call, "era": era} for era in ("modern", "legacy")]})
    terminal.show("warmed", answer["calls"], ("server", "name", "era", "outcome", "reason"))


def _argument(text: str, kind: Method) -> tuple[str, Any]:
    key, is_one, value = text.partition("=")
    if not is_one:
        raise InvalidInput(f"{text!r} is no argument; write KEY=VALUE, such as city=Oslo")
    try:
        return key, json.loads(value) if kind is Method.TOOL else value
    except ValueError:
        return key, value
