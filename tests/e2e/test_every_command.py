"""Every command, typed at a terminal against a gateway with every plugin that has commands.

What a command does in detail is tested where it is written; here none is left out, and each works as its help says.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fronts
import pytest
import reference_pages
import running
from shell import Ran, Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PASSWORD, OTHER = "correct horse battery", "staple staple staple"
PLUGINS = (
    *("json-logging", "audit", "rate-limit", "tokens", "server-keys", "rbac", "user-oauth", "autotune", "breaker"),
    *("balancer", "cache", "reload", "prompts", "transfer", "diagnostics"),
)
TABLES = f"""
[plugins]
enable = {list(PLUGINS)}
[[plugins.rate-limit.rules]]
name = "all"
rate = "1000000/s"
by = "global"
[[upstreams]]
name = "demo"
kind = "stdio"
command = ["{sys.executable}", "-m", "toolway.cli.demo"]
[[servers]]
name = "all-of-demo"
include = ["demo/*"]
"""
ELSEWHERE = {
    "serve": "the gateway of this test runs by it",
    "stdio": "tests/e2e/test_stdio_bridge.py",
    "connections connect": "opens a browser: plugins/user-oauth/tests",
}
"""Commands that do not end by themselves, or need a person, and where they are tested."""

SESSIONS: dict[str, list[str]] = {
    "the gateway": [
        "check",
        "schema",
        "plugins",
        "status",
        "whoami",
        "api get /openapi.json",
        "api GET /nothing ! 5",
        "reload --dry-run",
        "reload",
        "reload --last",
    ],
    "objects": [
        "upstreams add again {url}/mcp --allow-private",
        "upstreams list",
        "upstreams get again",
        "upstreams refresh demo",
        "items list --upstream demo",
        "servers add some --include demo/*",
        "servers list",
        "servers get some",
        "servers collisions some",
        "get servers/some",
        "get",
        "apply -f objects.json --dry-run",
        "apply -f objects.json",
        "servers remove some",
        "upstreams remove again",
        "upstreams get again ! 5",
    ],
    "accounts": [
        "users add alice",
        "users password alice < {password} {password}",
        "users list",
        "users get alice",
        "users disable alice",
        "users enable alice",
        "service-accounts add robot",
        "service-accounts list",
        "service-accounts get robot",
        "service-accounts disable robot",
        "service-accounts enable robot",
        "teams add ops",
        "teams list",
        "teams get ops",
        "teams members add ops alice --role owner",
        "teams members list ops",
        "teams members remove ops alice",
        "teams remove ops",
        "service-accounts remove robot",
    ],
    "signing in": [
        "login --user alice --profile mine < {password}",
        "@whoami",
        "@password < {password} {other} {other}",
        "@sessions list",
        "@sessions end nothing ! 5",
        "@profiles list",
        "@profiles use mine",
        "@logout",
        "@whoami ! 4",
        "login --profile other --token {token}",
        "@profiles remove other",
        "users remove alice",
    ],
    "use": [
        "call demo__add a=1 b=2",
        "call demo__nothing ! 1",
        "read demo://about",
        "prompt demo__greet name=Ada",
    ],
    "rbac": [
        "service-accounts add bot",
        "rbac role helpers tools:call:*",
        "rbac roles",
        "rbac grant service:bot helpers --name b1",
        "rbac bindings",
        "rbac explain service:bot tools:call demo/add",
        "rbac revoke b1",
        "rbac remove-role helpers",
    ],
    "tokens": [
        'tokens create --service bot --ttl 1h --name one > {"name": "([^"]+)"}',
        "tokens list",
        "tokens get {found}",
        "tokens revoke {found}",
        "tokens rotate-keys",
        "tokens policies set team:ops --max-ttl 7d",
        "tokens policies list",
        "tokens policies get team:ops",
        "tokens policies remove team:ops",
    ],
    "keys": [
        'server-keys create all-of-demo --name one > {"name": "([^"]+)"}',
        "server-keys list",
        "server-keys get {found}",
        'server-keys rotate {found} > {"name": "([^"]+)"}',
        "server-keys revoke {found}",
    ],
    "resilience": [
        "breakers list",
        "breakers open demo",
        "breakers close demo",
        "breakers reset demo",
        "endpoints",
        "rate-limits",
        "autotune list",
        "autotune get demo",
        "autotune events demo",
        "autotune apply demo",
        "autotune observe demo",
        "autotune pin demo --value retries --to 1",
        "autotune unpin demo",
        "autotune revert demo",
        "autotune forget demo",
        "connections list",
        "connections revoke demo ! 5",
    ],
    "prompts": [
        "prompts lint prompts",
        "prompts preview prompts greet who=Ada",
        "prompts diff prompts greet 1 1",
        "prompts test prompts",
        "prompts push prompts pushed",
        "prompts list",
        "prompts preview pushed greet who=Ada --live",
        "prompts preview pushed nothing --live ! 5",
    ],
    "rest": ["rest tools pets.json"],
    "cache": [
        "cache warm all-of-demo demo__add a=1 b=2",
        "cache warm all-of-demo demo://about --kind resource",
        "cache stats",
        "cache stats --items",
        "cache entries",
        "cache flush ! 1",
        "cache flush --upstream demo --pattern demo/*",
        "cache flush --all",
    ],
    "files": [
        "export objects servers -o some.json",
        "export -o all.json --passphrase-file passphrase.txt",
        "export rekey all.json -o again.json --passphrase-file passphrase.txt --new-passphrase-file passphrase.txt",
        "export schema",
        "import again.json --passphrase-file passphrase.txt --dry-run",
        "import some.json",
        "import nothing.json ! 1",
        "backup -o backup.tar.gz --config toolway.toml",
        "restore backup.tar.gz --config toolway.toml ! 1",
    ],
    "diagnostics": ["doctor", "doctor -c toolway.toml", "diagnose -o bundle.zip"],
    "logs and audit": [
        "loggers",
        "loggers set toolway.gateway DEBUG",
        "loggers reset toolway.gateway",
        "audit list",
        "audit export trail.jsonl",
        "audit verify",
    ],
}
"""What is typed: `< a b` are answers to what it asks, `! n` another exit code than 0, `> {pattern}` keeps what it finds
as `{found}`, `@` is without a token in the environment."""


@dataclass(frozen=True)
class Desk:
    """Where somebody types."""

    gate: running.Gateway
    home: Path
    token: str


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("desk")
    (home / "pets.json").write_text('{"openapi": "3.1.0", "paths": {"/pets": {"get": {}}}}')
    (home / "prompts").mkdir()
    (home / "prompts/greet.toml").write_text(
        'arguments = [{ name = "who" }]\nmessages = [{ text = "Hello {{ who }}" }]'
    )
    (home / "objects.json").write_text('{"servers": [{"name": "some", "include": ["demo/add"]}]}')
    (home / "passphrase.txt").write_text(f"{PASSWORD}\n")
    with running.gateway(home, TABLES) as gate:
        made = Desk(gate, home, fronts.admin_token(gate))
        running.poll(lambda: "demo/add" in _type(made, "items list", "").out, "no tool", gate.log)
        yield made


def commands() -> set[str]:
    """All of them by their full names, as far as they do something."""
    return {name.partition(" ")[2] for name, command in reference_pages.typed() if not hasattr(command, "commands")}


def test_none_is_left_out() -> None:
    lines = [line.removeprefix("@") for session in SESSIONS.values() for line in session]

    missing = {
        name for name in commands() - set(ELSEWHERE) if not any(f"{line} ".startswith(f"{name} ") for line in lines)
    }

    assert not missing


@pytest.mark.parametrize("session", SESSIONS)
def test_they_work(desk: Desk, session: str) -> None:
    known = {"url": desk.gate.url, "token": desk.token, "password": PASSWORD, "other": OTHER, "found": ""}
    for line in SESSIONS[session]:
        pattern = re.search(r" > \{(.*)\}$", line)
        text, _, code = line[: pattern.start() if pattern else None].partition(" ! ")
        typed, _, answers = text.partition(" < ")
        ran = _type(desk, _filled(typed, known), _filled(answers, known))

        assert ran.code == int(code or 0), f"{line}: {ran.out}"
        assert "Traceback" not in ran.out, f"{line}: {ran.out}"
        if pattern:
            found = re.search(pattern[1], ran.out)
            assert found is not None, f"{line}: {ran.out}"
            known["found"] = found[1]


def test_they_ask_for_what_the_openapi_document_describes(desk: Desk) -> None:
    """Of all that was typed before, by what the gateway told of its requests."""
    with urllib.request.urlopen(f"{desk.gate.url}/api/v1/openapi.json", timeout=30) as answer:
        paths = json.load(answer)["paths"]
    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    _type(desk, "status", "")

    asked = set(re.findall(r'"http_method":"(\w+)","route":"(/api/[^"]+)"', desk.gate.log.read_text()))

    assert ("GET", "/api/v1/health") in asked
    assert {f"{method} {route}" for method, route in asked} - described == set()


def _filled(text: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value.replace(" ", "\0"))
    return text


def _type(desk: Desk, line: str, answers: str) -> Ran:
    words = [word.replace("\0", " ") for word in line.removeprefix("@").split()]
    given = tuple(word.replace("\0", " ") for word in answers.split())
    shell = Shell(desk.gate.url, desk.home, "" if line.startswith("@") else desk.token)
    return shell.run(*words, *(["--config", "toolway.toml"] if words[0] in ("check", "schema") else []), answers=given)
