"""Commands on what is registered: upstreams, servers, items."""

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.cli.client import WRONG_USE, Client, Failure, client, mcp_path
from toolway.cli.profile import options
from toolway.cli.show import Progress, as_json, note, show
from toolway.hookspecs.commands import names

NewName = Annotated[str, typer.Argument(help="Its name.")]
UpstreamName = Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/upstreams"))]
ServerName = Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/servers"))]
File = Annotated[
    typer.FileText | None,
    typer.Option("--file", "-f", help="A JSON file with the whole definition; - for standard input."),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace it if it exists.")]

DISCOVERY_SECONDS = 60.0
POLL_SECONDS = 0.2


def collection(noun: str, help_text: str, name_type: Any, columns: Sequence[str]) -> typer.Typer:
    """The commands that all collections have."""
    group = typer.Typer(no_args_is_help=True, help=help_text)

    @group.command("list")
    def list_all() -> None:
        """List them, with their state."""
        show(f"{noun}s", client().pages(f"/{noun}s"), columns)

    @group.command("get")
    def get(name: name_type) -> None:
        """Show one as JSON; credentials are references or hidden."""
        as_json(client().api("GET", f"/{noun}s/{quote(name, safe='')}"))

    @group.command("remove")
    def remove(name: name_type) -> None:
        """Remove one."""
        client().api("DELETE", f"/{noun}s/{quote(name, safe='')}")
        note(f"{noun} {name} removed")

    return group


upstreams = collection(
    "upstream",
    "What is registered behind the gateway.",
    UpstreamName,
    ("name", "kind", "meta.status", "meta.items", "endpoints", "command", "meta.managed_by", "meta.error"),
)
servers = collection(
    "server",
    "Virtual servers: named selections of items.",
    ServerName,
    ("name", "meta.path", "access", "naming", "include", "exclude", "meta.tools", "meta.collisions", "meta.managed_by"),
)
items = typer.Typer(no_args_is_help=True, help="Tools, prompts and resources that upstreams offer.")


@upstreams.command("add")
def add_upstream(
    name: NewName,
    url: Annotated[list[str] | None, typer.Argument(help="URLs of its endpoints.")] = None,
    file: File = None,
    bearer: Annotated[
        str | None,
        typer.Option(help="The bearer token (stored encrypted) or a reference of a scheme that the API takes."),
    ] = None,
    allow_private: Annotated[bool, typer.Option(help="Allow addresses that are not public.")] = False,
    replace: Replace = False,
) -> None:
    """Register an upstream, which may be down, and discover what it offers."""
    auth = {"type": "bearer", "token": bearer} if bearer else None
    body = _body(name, file, {"kind": "http"}, endpoints=url, auth=auth, allow_private=allow_private)
    api = client()
    save(api, "upstreams", body, replace)
    upstream = _discovered(api, name)
    if options.json:
        as_json(upstream)
    else:
        note(f"upstream {name} {_state(upstream['meta'])}")


def _state(meta: dict[str, Any]) -> str:
    if meta.get("status") == "up":
        return f"offers {meta['items']} items"
    if meta.get("status") == "down":
        return f"is registered, but down ({meta['error']}); it comes in when it is up"
    return "is registered; its state is in the list of upstreams, and the gateway's log says more"


def _discovered(api: Client, name: str) -> Any:
    """The upstream after its first discovery, or as it is after a minute."""
    deadline = time.monotonic() + DISCOVERY_SECONDS
    path = f"/upstreams/{quote(name, safe='')}"
    with Progress(f"discovering {name}"):
        while (found := api.api("GET", path))["meta"].get("status") == "pending" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    return found


@upstreams.command("refresh")
def refresh_upstream(name: UpstreamName) -> None:
    """Discover again what an upstream offers."""
    with Progress(f"discovering {name}"):
        found = client().api("POST", f"/upstreams/{quote(name, safe='')}/refresh")
    if options.json:
        as_json(found)
    else:
        note(f"upstream {name} offers {found['items']} items")


@servers.command("add")
def add_server(
    name: NewName,
    include: Annotated[list[str] | None, typer.Option(help="Pattern of canonical names, e.g. 'time/*'.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of what to leave out.")] = None,
    naming: Annotated[str | None, typer.Option(help="prefix (the default) or plain.")] = None,
    access: Annotated[str | None, typer.Option(help="authenticated (the default) or public.")] = None,
    file: File = None,
    replace: Replace = False,
) -> None:
    """Make a virtual server."""
    body = _body(name, file, {}, include=include, exclude=exclude, naming=naming, access=access)
    api = client()
    save(api, "servers", body, replace)
    note(f"server {name} is at {api.profile.url}{mcp_path(name)}")
    collisions(name)


@servers.command("collisions")
def collisions(name: ServerName) -> None:
    """Show which names collide, with both sides."""
    found = client().api("GET", f"/servers/{quote(name, safe='')}/collisions")["items"]
    rows = [{**one, "between": " against ".join(one["items"])} for one in found]
    show("collisions", rows, ("kind", "name", "between", "resolved"))


@items.command("list")
def list_items(
    server: Annotated[
        str | None, typer.Option(help="As this server shows them.", autocompletion=names("/servers"))
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Of this upstream only.", autocompletion=names("/upstreams"))
    ] = None,
    kind: Annotated[str | None, typer.Option(help="tool, prompt, resource or template.")] = None,
) -> None:
    """List items by canonical name."""
    found = client().pages("/items", server=server, upstream=upstream, kind=kind)
    show("items", found, ("kind", "canonical", "exposed", "description"))


def _body(name: str, file: typer.FileText | None, defaults: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The definition in the file, if there is one, with the name and what options say."""
    try:
        definition = json.load(file) if file else defaults
    except ValueError as error:
        raise Failure(f"the file is not JSON: {error}", WRONG_USE) from None
    if not isinstance(definition, dict):
        raise Failure("the file must hold one JSON object", WRONG_USE)
    return {**definition, **named(name, **given)}


def named(name: str, **given: Any) -> dict[str, Any]:
    """The members of an object that options say."""
    return {"name": name, **{key: value for key, value in given.items() if value}}


def save(api: Client, collection: str, body: dict[str, Any], replace: bool) -> None:
    """Add the object, or put it in place of the one that has its name."""
    method, path = ("PUT", f"/{quote(body['name'], safe='')}") if replace else ("POST", "")
    try:
        api.api(method, f"/{collection}{path}", body)
    except Failure as failure:
        reason = str(failure).replace("use PUT to replace it", "replace it with --replace")
        raise Failure(reason, failure.exit_code) from None
