"""A gateway with every plugin that has operations, and something for each of them to work on."""

from __future__ import annotations

import contextlib
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fronts
import requests
import running
from permissions_page import PLUGINS as WITH_OPERATIONS

RECOMMENDED = Path(__file__).resolve().parents[2] / "contrib/recommended.toml"
NOBODY_LISTENS = "http://127.0.0.1:9"
ANSWER_SECONDS = 150.0
PASSWORD = "correct horse battery"

TABLES = f"""
authorization_servers = ["{NOBODY_LISTENS}"]

[plugins]
enable = %s
[plugins.audit]
calls = "all"
refusals = "all"
[plugins.rate-limit.shedding]
enabled = false
[[plugins.rate-limit.rules]]
name = "all"
rate = "1000000/s"
by = "global"

[[upstreams]]
name = "demo"
kind = "stdio"
command = ["{sys.executable}", "-m", "toolway.cli.demo"]
[[upstreams]]
name = "pets"
kind = "rest"
endpoints = ["{NOBODY_LISTENS}"]
document = "%s"
allow_private = true
[[upstreams]]
name = "personal"
kind = "http"
endpoints = ["{NOBODY_LISTENS}/mcp"]
allow_private = true
[upstreams.auth]
type = "oauth-user"
client_id = "toolway"
issuer = "{NOBODY_LISTENS}"
authorization_endpoint = "{NOBODY_LISTENS}/authorize"
token_endpoint = "{NOBODY_LISTENS}/token"
[[servers]]
name = "all-of-demo"
include = ["demo/*"]
"""

GREETING = {"name": "greet", "arguments": [{"name": "who"}], "messages": [{"text": "Hello {{ who }}"}]}
OBJECTS: dict[str, dict[str, Any]] = {
    "users": {},
    "service-accounts": {},
    "teams": {"members": {"user:bystander": "member"}},
    "upstreams": {"kind": "http", "endpoints": [NOBODY_LISTENS], "allow_private": True},
    "servers": {"include": ["demo/*"]},
    "prompt-collections": {"prompts": [GREETING]},
    "roles": {"permissions": ["tools:call:*"]},
    "bindings": {"subject": "user:bystander", "role": "caller"},
    "token-policies": {},
}
"""What one of each collection has beside its name."""

MADE: dict[str, dict[str, Any]] = {
    "tokens": {"subject": "user:bystander", "ttl": "1h"},
    "server-keys": {"servers": ["all-of-demo"]},
}
"""What is named by the gateway when it is made."""

FIXED = {"autotune": "demo", "breakers": "demo", "loggers": "toolway.gateway", "connections": "personal"}
"""Objects that are there anyway."""


@dataclass
class FullGateway:
    """One that runs, with what is in it; `credential` is that of an administrator who is a user."""

    gate: running.Gateway
    http: requests.Session = field(default_factory=requests.Session)
    credential: str = ""
    _number: int = 0
    _names: dict[str, str] = field(default_factory=dict)

    def api(self, method: str, path: str, body: Any = None, credential: str = "") -> requests.Response:
        """A request to the admin API, as the administrator unless another credential is given."""
        headers = {"authorization": f"Bearer {credential or self.credential}"}
        url = f"{self.gate.url}/api/v1{path}"
        return self.http.request(method, url, json=body, headers=headers, timeout=ANSWER_SECONDS)

    def made(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered to a request that has to succeed."""
        answer = self.api(method, path, body)
        if not answer.ok:
            raise RuntimeError(f"{method} {path} is answered with {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    def furnish(self) -> None:
        """Make the people that everything is about, and wait for what the upstream offers."""
        self.credential = fronts.admin_token(self.gate)
        self.http.trust_env = False
        for name, is_admin in (("bystander", False), ("boss", True)):
            self.made("PUT", f"/users/{name}", {"name": name, "admin": is_admin})
        self.made("PUT", "/users/boss/password", {"password": PASSWORD})
        self.credential = self.made("POST", "/tokens", {"subject": "user:boss", "ttl": "1d"})["token"]
        running.poll(lambda: bool(self.made("GET", "/items")["items"]), "nothing is offered", self.gate.log)

    def name(self, kind: str) -> str:
        """The name of an object that is there."""
        if kind in FIXED:
            return FIXED[kind]
        if kind in MADE:
            return str(self.made("POST", f"/{kind}", MADE[kind])["name"])
        if kind in OBJECTS and kind not in self._names:
            self._number += 1  # the names of accounts are never given twice
            prefix = "user:" if kind == "token-policies" else kind[0]
            self._names[kind] = name = f"{prefix}{self._number}"
            self.made("PUT", f"/{kind}/{name}", {**OBJECTS[kind], "name": name})
        return self._names.get(kind, "absent")

    def forget(self, kind: str, name: str) -> None:
        """An object was changed or removed: what it was is not there any more."""
        if kind in OBJECTS:
            self.api("DELETE", f"/{kind}/{quote(name, safe='')}")
        if self._names.get(kind) == name:
            del self._names[kind]

    def session(self) -> str:
        """The credential of a new session."""
        answer = self.made("POST", "/session", {"username": "boss", "password": PASSWORD, "bearer": True})
        return str(answer["token"])

    def ticket(self) -> str:
        """One that opens the page on which somebody connects an account."""
        url: str = self.made("POST", "/connections", {"upstream": FIXED["connections"]})["url"]
        return url.rpartition("/")[2]


@contextlib.contextmanager
def full_gateway(directory: Path) -> Iterator[FullGateway]:
    """Start it."""
    (directory / "pets.json").write_text(json.dumps({"openapi": "3.1.0", "paths": {"/pets": {"get": {}}}}))
    with running.gateway(directory, TABLES % (json.dumps(enabled()), directory / "pets.json")) as gate:
        full = FullGateway(gate)
        full.furnish()
        yield full


def enabled() -> list[str]:
    """The plugins that are recommended, and those with operations that are not, as far as they are installed."""
    recommended: list[str] = tomllib.loads(RECOMMENDED.read_text())["plugins"]["enable"]
    installed = {each.name for each in entry_points(group="toolway.plugins")}
    return [name for name in dict.fromkeys([*recommended, *WITH_OPERATIONS]) if name in installed]
