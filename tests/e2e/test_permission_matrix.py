"""Every operation of the REST API, as nobody, a stranger, and viewer, member and administrator of what it is about.

An operation that is not in the matrix fails the test: whoever adds one says who may do it.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from permissions_page import PLUGINS as WITH_OPERATIONS

from toolway.hookspecs.api import PUBLIC
from toolway_testing import trusting
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

INSTALLED = {each.name for each in entry_points(group="toolway.plugins")}
PLUGINS = [name for name in WITH_OPERATIONS if name in INSTALLED]
WHO = ("", "fred", "vera", "max", "root")
"""Nobody, somebody of another team, a viewer and a member of the team that owns the object, an administrator."""

OK = "ok"
OPEN = (OK, OK, OK, OK, OK)
SIGNED = ("401", OK, OK, OK, OK)
LIST = ("401", "403", OK, OK, OK)
READ = ("401", "404", OK, OK, OK)
WRITE = ("401", "404", "403", OK, OK)
ADMIN_LIST = ("401", "403", "403", "403", OK)
ADMIN = ("401", "404", "404", "404", OK)
REFUSED = ("401",) * 5

OWNED = {"owner": "team:ops", "visibility": "team"}
OBJECTS: dict[str, Any] = {
    "users": {"name": "ours"},
    "service-accounts": {"name": "ours"},
    "teams": {"name": "ours", "members": {"user:max": "member", "user:vera": "viewer"}},
    "upstreams": {"name": "ours", "kind": "http", "endpoints": ["http://127.0.0.1:1"], "allow_private": True, **OWNED},
    "servers": {"name": "ours", **OWNED},
    "prompt-collections": {"name": "ours", "prompts": [{"name": "greet", "messages": [{"text": "Hello"}]}], **OWNED},
    "roles": {"name": "ours", "permissions": ["tools:call:*"]},
    "bindings": {"name": "ours", "subject": "team:ops", "role": "caller"},
    "token-policies": {"name": "user:ours"},
}
"""One of each collection; before each request that is about one it is made, under a name of its own."""

ABOUT = {"autotune": "upstreams", "breakers": "upstreams"}
"""What has the names of another collection's objects, and is as visible as they are."""

PREFIXES = {"token-policies": "user:"}
"""What names begin with, where that matters."""


@dataclass(frozen=True)
class Case:
    """What each of `WHO` gets, and the body and query of the request.

    What cannot be named by whoever makes it is `made` by the administrator first: collection and body.
    """

    expected: tuple[str, ...]
    body: Any = None
    query: str = ""
    made: tuple[str, Any] | None = None


def collection(kind: str, lists: tuple[str, ...], read: tuple[str, ...], write: tuple[str, ...]) -> dict[str, Case]:
    """The operations that every collection has; to add something needs the permission, whoever is to own it."""
    path, body = f"/api/v1/{kind}", OBJECTS[kind]
    return {
        f"GET {path}": Case(lists),
        f"POST {path}": Case(ADMIN_LIST, body),
        f"GET {path}/{{name}}": Case(read),
        f"PUT {path}/{{name}}": Case(write, body),
        f"DELETE {path}/{{name}}": Case(write),
    }


TOKEN = ("/tokens", {"subject": "user:max", "ttl": "1h"})
KEY = ("/server-keys", {"servers": ["keyed"], "owner": "team:ops"})
OWN = ("401", "404", "404", OK, OK)
DRAFT = {"prompts": OBJECTS["prompt-collections"]["prompts"]}

MATRIX: dict[str, Case] = {
    "GET /health": Case(OPEN),  # of what is public only what the kernel has, and signing in
    "GET /ready": Case(OPEN),
    "GET /api/v1/openapi.json": Case(OPEN),
    "GET /api/v1/audit": Case(ADMIN_LIST),
    "GET /api/v1/audit/export": Case(ADMIN_LIST),
    "GET /api/v1/audit/verify": Case(ADMIN_LIST),
    "GET /api/v1/autotune": Case(LIST),
    "GET /api/v1/autotune/{name}": Case(READ),
    "DELETE /api/v1/autotune/{name}": Case(WRITE),
    "GET /api/v1/autotune/{name}/events": Case(READ),
    "POST /api/v1/autotune/{name}/apply": Case(WRITE),
    "POST /api/v1/autotune/{name}/observe": Case(WRITE),
    "POST /api/v1/autotune/{name}/pin": Case(WRITE, {}),
    "POST /api/v1/autotune/{name}/revert": Case(WRITE, {}),
    "POST /api/v1/autotune/{name}/unpin": Case(WRITE, {}),
    "GET /api/v1/diagnostics/bundle": Case(ADMIN_LIST),
    "GET /api/v1/diagnostics/checks": Case(ADMIN_LIST),
    "GET /api/v1/endpoints": Case(LIST),
    "GET /api/v1/health": Case(ADMIN_LIST),
    "GET /api/v1/items": Case(LIST),
    "GET /api/v1/plugins": Case(ADMIN_LIST),
    "GET /api/v1/loggers": Case(ADMIN_LIST),
    "GET /api/v1/loggers/{name}": Case(ADMIN),
    "PUT /api/v1/loggers/{name}": Case(ADMIN, {"level": "INFO"}),
    "DELETE /api/v1/loggers/{name}": Case(ADMIN),
    "GET /api/v1/rate-limits": Case(ADMIN_LIST),
    "GET /metrics": Case(ADMIN_LIST),
    "GET /api/v1/reload": Case(ADMIN_LIST),
    "POST /api/v1/reload": Case(ADMIN_LIST, {"dry_run": True}),
    "POST /api/v1/export": Case(SIGNED, {}),
    "POST /api/v1/import": Case(SIGNED, {"document": {"format": "toolway-export", "version": 1, "objects": {}}}),
    "GET /api/v1/rbac/explain": Case(SIGNED, query="?action=servers:connect&resource=all"),
    "POST /api/v1/upstreams/{name}/refresh": Case(WRITE),
    "GET /api/v1/servers/{name}/collisions": Case(READ),
    **collection("upstreams", LIST, READ, WRITE),
    **collection("servers", LIST, READ, WRITE),
    **collection("prompt-collections", ADMIN_LIST, READ, WRITE),  # there is none yet when they are listed
    "GET /api/v1/prompt-collections/{name}/lint": Case(READ),
    "POST /api/v1/prompt-collections/{name}/preview": Case(READ, {"prompt": "greet"}),
    "POST /api/v1/prompt-collections/{name}/diff": Case(READ, {"prompt": "greet", "old": 1}),
    "POST /api/v1/prompt-collections/{name}/test": Case(READ),
    "POST /api/v1/prompt-drafts/lint": Case(ADMIN_LIST, DRAFT),
    "POST /api/v1/prompt-drafts/test": Case(ADMIN_LIST, DRAFT),
    **collection("users", ADMIN_LIST, ADMIN, ADMIN),
    **collection("service-accounts", ADMIN_LIST, ADMIN, ADMIN),
    **collection("teams", ADMIN_LIST, ADMIN, ADMIN),
    **collection("roles", ADMIN_LIST, ADMIN, ADMIN),
    **collection("bindings", ADMIN_LIST, ADMIN, ADMIN),
    "GET /api/v1/teams/{name}/members": Case(READ),
    "PUT /api/v1/teams/{name}/members/{account}": Case(ADMIN, {"role": "viewer"}),
    "DELETE /api/v1/teams/{name}/members/{account}": Case(ADMIN),
    "POST /api/v1/session": Case(REFUSED, {"username": "ours", "password": "is it this?"}),
    "GET /api/v1/session": Case(SIGNED),
    "DELETE /api/v1/session": Case(SIGNED),
    "PUT /api/v1/session/password": Case(
        SIGNED, {"old_password": "is it this?", "new_password": "another, longer one"}
    ),
    "GET /api/v1/sessions": Case(SIGNED),
    "DELETE /api/v1/sessions/{name}": Case(("401", "404", "404", "404", "404")),
    "PUT /api/v1/users/{name}/password": Case(ADMIN, {"password": "long enough for it"}),
    **collection("token-policies", ADMIN_LIST, ADMIN, ADMIN),
    "GET /api/v1/tokens": Case(SIGNED),
    "POST /api/v1/tokens": Case(SIGNED, {"ttl": "1h"}),
    "GET /api/v1/tokens/{name}": Case(OWN, made=TOKEN),
    "DELETE /api/v1/tokens/{name}": Case(OWN, made=TOKEN),
    "POST /api/v1/token-keys/rotate": Case(ADMIN_LIST),
    "GET /api/v1/breakers": Case(LIST),
    "GET /api/v1/breakers/{name}": Case(READ),
    "POST /api/v1/breakers/{name}/open": Case(WRITE, {}),
    "POST /api/v1/breakers/{name}/close": Case(WRITE, {}),
    "POST /api/v1/breakers/{name}/reset": Case(WRITE, {}),
    "GET /api/v1/cache": Case(LIST),
    "GET /api/v1/cache/entries": Case(LIST),
    "GET /api/v1/cache/items": Case(LIST),
    "POST /api/v1/cache/flush": Case(("401", "403", "403", OK, OK), {"everything": True}),
    "POST /api/v1/cache/warm": Case(ADMIN_LIST, {"calls": [{"server": "all", "method": "prompts/get", "name": "x"}]}),
    "GET /api/v1/server-keys": Case(SIGNED),
    "POST /api/v1/server-keys": Case(WRITE, {"servers": ["keyed"]}),
    "GET /api/v1/server-keys/{name}": Case(READ, made=KEY),
    "DELETE /api/v1/server-keys/{name}": Case(WRITE, made=KEY),
    "POST /api/v1/server-keys/{name}/rotate": Case(WRITE, {}, made=KEY),
}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_operation_answers_everybody_as_the_matrix_says(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await _gate(gateway, tmp_path, monkeypatch)
    every = gate.gateway.kernel.operations
    operations = [one.name for one in every if one.permission != PUBLIC or one.name in MATRIX]
    assert sorted(set(operations) - set(MATRIX)) == [], "say in the matrix who may do this"
    found: dict[str, tuple[str, ...]] = {}
    numbers = count()

    for name in operations:
        found[name] = tuple([await _outcome(gate, who, name, MATRIX[name], f"o{next(numbers)}") for who in WHO])

    assert {name: each for name, each in found.items() if each != MATRIX[name].expected} == {}


async def _gate(gateway: StartGateway, directory: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """With users, and an upstream of the team that offers something."""
    monkeypatch.syspath_prepend(str(trusting.installed(directory / "installed")))
    demo = {"name": "demo", "kind": "stdio", "command": [sys.executable, "-m", "toolway.cli.demo"], **OWNED}
    gate = await gateway(enable=["trusting", *PLUGINS], upstreams=[demo])
    for user in ("fred", "vera", "max", "root"):
        await gate.api("POST", "/users", {"name": user, "admin": user == "root"})
    await gate.api("POST", "/teams", {"name": "ops", "members": {"user:max": "member", "user:vera": "viewer"}})
    await gate.api("POST", "/teams", {"name": "web", "members": {"user:fred": "owner"}})
    await gate.api("POST", "/servers", {"name": "keyed", **OWNED})
    await eventually(lambda: _has_items(gate))
    return gate


async def _has_items(gate: RunningGateway) -> bool:
    return bool((await gate.api("GET", "/items")).content["items"])


async def _outcome(gate: RunningGateway, who: str, operation: str, case: Case, name: str) -> str:
    """The status of a refusal; what is hidden is compared with what does not exist, too."""
    kind = operation.split("/")[3] if operation.count("/") > 2 else ""
    kind = ABOUT.get(kind, kind)
    name = PREFIXES.get(kind, "") + name
    if kind in OBJECTS and "{name}" in operation:
        await gate.api("PUT", f"/{kind}/{name}", {**OBJECTS[kind], "name": name})
    if case.made:
        name = (await gate.api("POST", *case.made)).content["name"]
    answer = await _ask(gate, who, operation, case, name)
    if answer.status == 404 and "{name}" in operation:
        absent = await _ask(gate, who, operation, case, f"{name}-not")
        assert _seen(answer, name) == _seen(absent, f"{name}-not"), f"{operation} tells {who!r} that there is one"
    return str(answer.status) if answer.status in (401, 403, 404, 500) else OK


async def _ask(gate: RunningGateway, who: str, operation: str, case: Case, name: str) -> Answer:
    method, _, path = operation.partition(" ")
    full = path.replace("{name}", name).replace("{account}", "user:vera") + case.query
    body = {**case.body, "name": name} if case.body and "name" in case.body else case.body
    headers = trusting.bearer(who)
    async with gate.http.request(method, gate.url + full, headers=headers, json=body) as response:
        content = await response.json(content_type=None) if response.content_type.endswith("json") else None
        return Answer(response.status, {}, content)


def _seen(answer: Answer, name: str) -> str:
    """What can be told from an answer, whatever the name it is about and the id of the error."""
    text = json.dumps(answer.content, sort_keys=True).replace(f"'{name}'", "…")
    return re.sub(r'"error_?[iI]d": "\w+"', "", text)
