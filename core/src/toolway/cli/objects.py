"""Commands on what is registered: upstreams, servers, items."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.cli.client import Client, Failure
from toolway.cli.context import client, wants_json
from toolway.cli.show import Progress, as_json, note, table

upstreams = typer.Typer(no_args_is_help=True, help="What is registered behind the gateway.")
servers = typer.Typer(no_args_is_help=True, help="Virtual servers: named selections of items.")
items = typer.Typer(no_args_is_help=True, help="Tools, prompts and resources that upstreams offer.")

Name = Annotated[str, typer.Argument(help="Its name.")]
File = Annotated[
    Path | None, typer.Option("--file", "-f", help="A JSON file with the whole definition; - for standard input.")
]


@upstreams.command("list")
def list_upstreams() -> None:
    """List upstreams with their state."""
    found = list(client().pages("/upstreams"))
    if wants_json():
        as_json(found)
        return
    rows = [
        (u["name"], u["kind"], _state(u["meta"]), u["meta"].get("items", ""), _reached(u), u["meta"]["managed_by"])
        for u in found
    ]
    table("Upstreams", ("name", "kind", "state", "items", "endpoints", "managed by"), rows)


@upstreams.command("get")
def get_upstream(name: Name) -> None:
    """Show one upstream; credentials are references."""
    as_json(client().api("GET", f"/upstreams/{quote(name)}"))


@upstreams.command("add")
def add_upstream(
    name: Name,
    url: Annotated[list[str] | None, typer.Argument(help="URLs of its endpoints.")] = None,
    file: File = None,
    bearer: Annotated[str | None, typer.Option(help="Secret reference of a bearer token, e.g. env:NAME.")] = None,
    allow_private: Annotated[bool, typer.Option(help="Allow addresses that are not public.")] = False,
    replace: Annotated[bool, typer.Option(help="Replace it if it exists.")] = False,
) -> None:
    """Register an upstream and discover what it offers."""
    body: dict[str, Any] = _definition(file) if file else {"kind": "http", "endpoints": url or []}
    body["name"] = name
    if bearer:
        body["auth"] = {"type": "bearer", "token": bearer}
    if allow_private:
        body["allow_private"] = True
    api = client()
    _put(api, "upstreams", body, replace)
    _refresh(api, name)


@upstreams.command("remove")
def remove_upstream(name: Name) -> None:
    """Remove an upstream."""
    client().api("DELETE", f"/upstreams/{quote(name)}")
    note(f"upstream {name} removed")


@upstreams.command("refresh")
def refresh_upstream(name: Name) -> None:
    """Discover again what an upstream offers."""
    _refresh(client(), name)


@servers.command("list")
def list_servers() -> None:
    """List virtual servers."""
    found = list(client().pages("/servers"))
    if wants_json():
        as_json(found)
        return
    rows = [(s["name"], s["access"], s["naming"], " ".join(s["include"]), s["meta"]["managed_by"]) for s in found]
    table("Servers", ("name", "access", "naming", "include", "managed by"), rows)


@servers.command("get")
def get_server(name: Name) -> None:
    """Show one virtual server."""
    as_json(client().api("GET", f"/servers/{quote(name)}"))


@servers.command("add")
def add_server(
    name: Name,
    include: Annotated[list[str] | None, typer.Option(help="Pattern of canonical names, e.g. 'time/*'.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of what to leave out.")] = None,
    naming: Annotated[str, typer.Option(help="prefix or plain.")] = "prefix",
    access: Annotated[str, typer.Option(help="authenticated or public.")] = "authenticated",
    file: File = None,
    replace: Annotated[bool, typer.Option(help="Replace it if it exists.")] = False,
) -> None:
    """Make a virtual server."""
    body: dict[str, Any] = _definition(file) if file else {"naming": naming, "access": access}
    body["name"] = name
    if include:
        body["include"] = include
    if exclude:
        body["exclude"] = exclude
    api = client()
    _put(api, "servers", body, replace)
    path = "/mcp" if name == "all" else f"/servers/{name}/mcp"
    note(f"server {name} is at {api.profile.url}{path}")
    _show_collisions(api, name)


@servers.command("remove")
def remove_server(name: Name) -> None:
    """Remove a virtual server."""
    client().api("DELETE", f"/servers/{quote(name)}")
    note(f"server {name} removed")


@servers.command("collisions")
def collisions(name: Name) -> None:
    """Show which names collide, with both sides."""
    _show_collisions(client(), name)


@items.command("list")
def list_items(
    server: Annotated[str | None, typer.Option(help="As this server shows them.")] = None,
    upstream: Annotated[str | None, typer.Option(help="Of this upstream only.")] = None,
    kind: Annotated[str | None, typer.Option(help="tool, prompt, resource or template.")] = None,
) -> None:
    """List items by canonical name."""
    filters = {"server": server, "upstream": upstream, "kind": kind}
    query = "&".join(f"{key}={quote(value)}" for key, value in filters.items() if value)
    found = list(client().pages(f"/items?{query}" if query else "/items"))
    if wants_json():
        as_json(found)
        return
    rows = [(i["kind"], i["canonical"], i.get("exposed") or "", _first_line(i.get("description"))) for i in found]
    table("Items", ("kind", "canonical name", "exposed as", "description"), rows)


def _reached(upstream: dict[str, Any]) -> str:
    return ", ".join(upstream.get("endpoints", ())) or " ".join(upstream.get("command", ()))


def _state(meta: dict[str, Any]) -> str:
    status, error = meta.get("status", ""), meta.get("error", "")
    return f"{status}: {error}" if error else str(status)


def _first_line(text: Any) -> str:
    lines = str(text or "").strip().splitlines()
    return lines[0][:80] if lines else ""


def _definition(file: Path) -> dict[str, Any]:
    text = sys.stdin.read() if str(file) == "-" else file.read_text()
    content = json.loads(text)
    if not isinstance(content, dict):
        raise Failure(f"{file} must hold one JSON object", 2)
    return content


def _put(api: Client, collection: str, body: dict[str, Any], replace: bool) -> None:
    if replace:
        api.api("PUT", f"/{collection}/{quote(body['name'])}", body)
    else:
        api.api("POST", f"/{collection}", body)


def _refresh(api: Client, name: str) -> None:
    with Progress(f"discovering {name}"):
        found = api.api("POST", f"/upstreams/{quote(name)}/refresh")
    if wants_json():
        as_json(found)
    else:
        note(f"upstream {name} offers {found.get('items', 0)} items")


def _show_collisions(api: Client, name: str) -> None:
    found = api.api("GET", f"/servers/{quote(name)}/collisions")["items"]
    if wants_json():
        as_json(found)
    elif found:
        rows = [(c["kind"], c["name"], " against ".join(c["items"]), c["resolved"]) for c in found]
        table("Collisions", ("kind", "name", "between", "resolved by"), rows)
