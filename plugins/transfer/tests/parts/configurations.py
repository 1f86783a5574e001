"""Anything that can be declared: documents with objects of every installed collection, which refer to each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hypothesis import strategies as some
from transferring import document

BLNS = Path(__file__).parents[4] / "tests/data/blns/blns.json"
NAUGHTY = [text for text in json.loads(BLNS.read_text()) if len(text) < 150 and "\0" not in text]
"""Texts that have broken programs."""

INSTALLED = [
    name
    for name in ("prompts", "rbac", "rest", "tokens", "user-oauth")
    if find_spec(f"toolway_{name.replace('-', '_')}")
]

Table = dict[str, Any]
Tables = some.SearchStrategy[Table]


def table(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Tables:
    """A table; what is no strategy is meant as it is."""

    def made(members: dict[str, Any]) -> dict[str, Any]:
        return {key: one if isinstance(one, some.SearchStrategy) else some.just(one) for key, one in members.items()}

    return some.fixed_dictionaries(made(required), optional=made(optional or {}))


def several(one: some.SearchStrategy[Any], most: int = 3) -> some.SearchStrategy[list[Any]]:
    """Some of them, or none."""
    return some.lists(one, max_size=most)


NAMES = some.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
TEXTS = some.sampled_from(NAUGHTY) | some.text(
    some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40
)
LINES = TEXTS.map(lambda text: "".join(each for each in text if each >= " " and each != "\x7f"))
JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**60), 2**60) | some.floats(-1e9, 1e9) | TEXTS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
HOSTS = some.sampled_from(["a.example.com", "b.example.com:8443", "[2606:4700::1111]"])
URLS = some.builds("https://{}/{}".format, HOSTS, some.from_regex(r"[a-z]{0,8}(?:\?q=[a-z]{1,4})?", fullmatch=True))
SECRETS = some.builds(
    lambda number, text: f"credential {number:032x} {text}", some.integers(1, 2**127), some.sampled_from(NAUGHTY)
).map(lambda text: "".join(each for each in text if " " <= each <= "~"))
HEADERS = some.dictionaries(some.from_regex(r"X-[A-Z][a-z]{1,5}", fullmatch=True), SECRETS, max_size=3)
PATTERNS = some.builds("{}/{}".format, NAMES, some.sampled_from(["*", "get_*", "a.b", "file:///*"]))
AUTHS = [
    table({"type": "bearer", "token": SECRETS}),
    table({"type": "header", "name": "X-Key", "value": SECRETS}),
    table({"type": "basic", "username": LINES, "password": SECRETS}),
    table(
        {"type": "client-credentials", "token_url": URLS, "client_id": LINES, "client_secret": SECRETS},
        {"scope": "a b", "resource": URLS, "method": some.sampled_from(["basic", "post"])},
    ),
]
if "user-oauth" in INSTALLED:
    AUTHS.append(
        table({"type": "oauth-user", "client_id": NAMES}, {"client_secret": SECRETS, "scopes": several(NAMES)})
    )


def shown(owners: list[str]) -> dict[str, Any]:
    """What objects have that belong to somebody."""
    return {
        "description": TEXTS,
        "owner": some.sampled_from(["", *owners]),
        "visibility": some.sampled_from(["private", "team", "public"]),
    }


def upstreams(owners: list[str]) -> list[Callable[[str], Tables]]:
    """By kind. None is dialled: that is not what this is about."""
    common = {
        **shown(owners),
        "auth": some.one_of(AUTHS),
        "sharing": some.sampled_from(["session", "principal", "shared"]),
        "allow_private": some.booleans(),
        "timeouts": table({}, {"total": some.floats(1, 900), "first_byte": some.integers(1, 900)}),
        "in_flight": some.integers(1, 10_000),
        "retries": some.integers(0, 5),
        "refresh_interval": some.floats(5, 1e6),
    }
    web = {"endpoints": some.lists(URLS, min_size=1, max_size=3), "enabled": False}
    command = some.lists(TEXTS, min_size=1, max_size=3)
    env = some.dictionaries(some.from_regex(r"[A-Z_]{1,9}", fullmatch=True), SECRETS, max_size=3)
    found = [
        lambda name: table({"name": name, "kind": "http", **web}, {**common, "headers": HEADERS, "proxy": URLS}),
        lambda name: table(
            {"name": name, "kind": "stdio", "enabled": False, "command": command},
            {key: value for key, value in common.items() if key != "auth"} | {"env": env, "cwd": "/srv/a b"},
        ),
    ]
    if "rest" in INSTALLED:
        operation = {"name": "look", "method": "GET", "path": "/look/{id}"}
        rest = {"document": URLS, "headers": HEADERS, "slashes": ["id"]}
        rest |= {"include": several(some.sampled_from(["get*", "tag:a", "path:/b/*"])), "credentials": HEADERS}
        found.append(
            lambda name: table({"name": name, "kind": "rest", "operations": [operation], **web}, {**common, **rest})
        )
    return found


ITEM = table(
    {},
    {
        "alias": some.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True),
        "title": some.none() | TEXTS,
        "description": some.none() | TEXTS,
        "arguments": some.dictionaries(TEXTS, JSON, max_size=3),
    },
)


def server(name: str, owners: list[str]) -> Tables:
    """A server; its patterns need not match anything."""
    more = {
        "instructions": some.none() | TEXTS,
        "access": some.sampled_from(["public", "authenticated"]),
        "naming": some.sampled_from(["prefix", "plain"]),
        "on_collision": some.sampled_from(["error", "prefix"]),
        "include": several(PATTERNS),
        "exclude": several(PATTERNS),
        "items": some.dictionaries(PATTERNS, ITEM, max_size=2),
    }
    return table({"name": name}, {**shown(owners), **more})


def collection(name: str, owners: list[str]) -> Tables:
    """Prompts; the texts that are templates are valid ones."""
    message = table(
        {"text": some.sampled_from(["Hello {{ who }}", "{% raw %}{{ no }}{% endraw %}"])}, {"role": "assistant"}
    )
    case = table({"name": "it works", "arguments": {"who": "you"}}, {"messages": 1, "contains": several(TEXTS)})
    prompt = table(
        {
            "name": "greet",
            "arguments": [{"name": "who", "required": True}],
            "messages": some.lists(message, min_size=1, max_size=1),
        },
        {"title": TEXTS, "description": TEXTS, "tests": several(case, 1), "version": some.integers(1, 9)},
    )
    return table({"name": name, "prompts": several(prompt, 1)}, shown(owners))


NEEDED = ("users", "service-accounts", "teams")
"""Others may refer to them."""


@some.composite
def configurations(draw: some.DrawFn) -> Table:
    """A document that one gateway takes whole."""
    names = draw(some.lists(NAMES, min_size=8, max_size=10, unique=True))
    users, services, teams = names[:2], names[2:3], names[3:5]
    accounts = [*(f"user:{name}" for name in users), *(f"service:{name}" for name in services)]
    owners = [f"user:{users[0]}", *(f"team:{name}" for name in teams)]
    members = some.dictionaries(some.sampled_from(accounts), some.sampled_from(["owner", "member", "viewer"]))
    person = {"display_name": LINES.map(lambda text: text[:200]), "email": "a@b.example", "enabled": some.booleans()}
    made: dict[str, list[some.SearchStrategy[Any]]] = {
        "users": [table({"name": name}, {**person, "admin": some.booleans()}) for name in users],
        "service-accounts": [
            table(
                {"name": name}, {"description": TEXTS, "enabled": some.booleans(), "owner": some.sampled_from(owners)}
            )
            for name in services
        ],
        "teams": [table({"name": name, "members": members}, {"description": TEXTS}) for name in teams],
        "upstreams": [draw(some.sampled_from(upstreams(owners)))(name) for name in names[:3]],
        "servers": [server(name, owners) for name in names[3:6]],
    }
    if "prompts" in INSTALLED and draw(some.integers(0, 4)) == 0:
        made["prompt-collections"] = [collection(names[7], owners)]
    if "rbac" in INSTALLED:
        made |= rights(names[6], [*accounts, *owners, "*", "anonymous", "group:cn=A, B"])
    if "tokens" in INSTALLED:
        made["token-policies"] = [table({"name": owners[-1]}, {"max_ttl": some.integers(3600, 10**7)})]
    objects = {
        kind: [draw(one) for one in each if kind in NEEDED or draw(some.booleans())] for kind, each in made.items()
    }
    return document(**objects)


def rights(role: str, subjects: list[str]) -> dict[str, list[some.SearchStrategy[Any]]]:
    """A role, and bindings with it and without."""
    permissions = some.sampled_from(["tools:call:billing/*", "upstreams:read:*", "servers:connect:a", "admin:*"])
    about = {"subject": some.sampled_from(subjects), "role": some.sampled_from(["viewer", "admin"])}
    more = {"description": TEXTS, "expires_at": some.floats(4e9, 9e9)}
    single = {**about, "role": "", "permission": permissions, "effect": some.sampled_from(["allow", "deny"])}
    return {
        "roles": [table({"name": role, "permissions": several(permissions)}, {"description": TEXTS})],
        "bindings": [table({"name": "a", **about}, more), table({"name": "b", **single}, more)],
    }
