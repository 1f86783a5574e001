"""`toolway rbac`: roles, bindings, and why somebody may do something."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from toolway.hookspecs.commands import Terminal, names
from toolway.hookspecs.definitions import NAME
from toolway.plugin import InvalidInput

commands = typer.Typer(no_args_is_help=True, help="Who may do what: roles, bindings, explanations.")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNNAMEABLE = re.compile(r"[^a-z0-9]+")
_KINDS = ("user:", "service:", "team:", "group:")

SubjectName = Annotated[
    str,
    typer.Argument(help="A user's name, user:NAME, service:NAME, team:NAME, group:NAME, * (everybody) or anonymous."),
]
Given = Annotated[str, typer.Argument(help="A role, or a permission such as tools:call:billing/*.")]
Description = Annotated[str, typer.Option(help="For people.")]


@commands.command("explain")
def explain(
    context: typer.Context,
    user: SubjectName,
    action: Annotated[str, typer.Argument(help="Such as tools:call or upstreams:write.")],
    resource: Annotated[str, typer.Argument(help="Name of the object; upstream/item for items.")],
    server: Annotated[str, typer.Option(help="The server through which an item is used.")] = "",
) -> None:
    """Show whether somebody may do something, and why."""
    question = {"user": subject(user), "action": action, "resource": resource, "server": server}
    terminal: Terminal = context.obj
    terminal.print(terminal.api("GET", f"/rbac/explain?{urlencode(question)}"))


@commands.command("roles")
def roles(context: typer.Context) -> None:
    """List the roles."""
    terminal: Terminal = context.obj
    terminal.show("roles", terminal.pages("/roles"), ("name", "permissions", "description", "meta.managed_by"))


@commands.command("role")
def role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
    permissions: Annotated[list[str], typer.Argument(help="All permissions that it is to have.")],
    description: Description = "",
) -> None:
    """Make a role, or replace it."""
    terminal: Terminal = context.obj
    body = {"name": name, "permissions": permissions, "description": description}
    terminal.print(terminal.api("PUT", f"/roles/{quote(name, safe='')}", body))


@commands.command("remove-role")
def remove_role(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Its name.", autocompletion=names("/roles"))]
) -> None:
    """Remove a role that no binding names."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", f"/roles/{quote(name, safe='')}")
    terminal.note(f"role {name} removed")


@commands.command("bindings")
def bindings(
    context: typer.Context,
    of: Annotated[str, typer.Option(help="Only those of this subject.")] = "",
) -> None:
    """List the bindings."""
    terminal: Terminal = context.obj
    found = (each for each in terminal.pages("/bindings") if not of or each["subject"] == subject(of))
    terminal.show("bindings", found, ("name", "subject", "team_role", "effect", "role", "permission", "expires_at"))


@commands.command("grant")
def grant(
    context: typer.Context,
    user: SubjectName,
    given: Given,
    deny: Annotated[bool, typer.Option("--deny", help="Deny it; that wins over everything that allows it.")] = False,
    duration: Annotated[str, typer.Option("--for", help="How long, such as 30m, 8h or 7d; default: for ever.")] = "",
    team_role: Annotated[str, typer.Option(help="Of a team only those with this role or a higher one.")] = "",
    name: Annotated[str, typer.Option(help="Name of the binding; default: made of subject and role.")] = "",
    description: Description = "",
) -> None:
    """Give somebody a role or a permission, or deny it."""
    terminal: Terminal = context.obj
    kind = "permission" if ":" in given else "role"
    body: dict[str, Any] = {
        "subject": subject(user),
        kind: given,
        "effect": "deny" if deny else "allow",
        "description": description,
        "team_role": team_role or None,
        "expires_at": time.time() + seconds(duration) if duration else None,  # noqa: TID251 - of the person's machine
    }
    body["name"] = name or default_name(body["subject"], given, body["effect"])
    terminal.print(terminal.api("PUT", f"/bindings/{quote(body['name'], safe='')}", body))


@commands.command("revoke")
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the binding.", autocompletion=names("/bindings"))],
) -> None:
    """Remove a binding."""
    terminal: Terminal = context.obj
    terminal.api("DELETE", f"/bindings/{quote(name, safe='')}")
    terminal.note(f"binding {name} removed")


def subject(text: str) -> str:
    """What a person means: a bare name is a user's."""
    return text if text in ("*", "anonymous") or text.startswith(_KINDS) else f"user:{text}"


def seconds(text: str) -> int:
    """A duration such as `8h`; raises InvalidInput."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInput(f"{text!r} is no duration; write a number and a unit, such as 30m, 8h or 7d")
    return int(match[1]) * UNITS[match[2]]


def default_name(whom: str, given: str, effect: str) -> str:
    """The same for the same subject, role or permission, and effect; readable where that is possible."""
    prefix = "deny-" if effect == "deny" else ""
    plain = f"{prefix}{whom}-{given}".replace(":", "-")
    if NAME.fullmatch(plain) and not (prefix == "" and plain.startswith("deny-")) and given.count(":") == 0:
        return plain
    digest = hashlib.blake2b(f"{whom}\n{given}\n{effect}".encode(), digest_size=4).hexdigest()
    words = _UNNAMEABLE.sub("-", plain.lower()).strip("-")[:38].strip("-")
    return f"{words}-{digest}"
