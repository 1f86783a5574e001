"""Export, a fresh database, import, export: the same bytes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transferring import PASSPHRASE, actions, exported, exported_with_credentials, imported

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_transfer.export_command import formatted

OBJECTS: list[tuple[str, dict[str, Any]]] = [
    ("users", {"name": "alice", "display_name": "Alice"}),
    ("users", {"name": "root2", "admin": True}),
    ("teams", {"name": "ops", "members": {"user:alice": "owner"}}),
    ("service-accounts", {"name": "ci", "owner": "team:ops"}),
    ("roles", {"name": "biller", "permissions": ["tools:call:billing/*"]}),
    ("bindings", {"name": "ops-bill", "subject": "team:ops", "role": "biller"}),
    ("token-policies", {"name": "team:ops", "max_ttl": 3600}),
    (
        "upstreams",
        {
            "name": "billing",
            "endpoints": ["https://b.example.com/mcp", "https://a.example.com/mcp"],
            "auth": {"type": "bearer", "token": "top-secret-token"},
            "headers": {"X-Key": "another-secret"},
            "timeouts": {"total": 12.5},
            "description": "somebody wrote another-secret here",
            "owner": "team:ops",
            "visibility": "team",
            "enabled": False,
        },
    ),
    ("servers", {"name": "finance", "include": ["billing/*"], "items": {"billing/pay": {"alias": "pay"}}}),
]
OTHERS = {"rbac": ("roles", "bindings"), "tokens": ("token-policies",)}
"""Plugins with collections of their own, as far as they are installed."""

INSTALLED = [name for name in OTHERS if find_spec(f"toolway_{name}")]
PLUGINS = ["transfer", *INSTALLED]
ABSENT = {kind for name, kinds in OTHERS.items() if name not in INSTALLED for kind in kinds}


async def fill(gate: RunningGateway) -> None:
    for kind, body in (each for each in OBJECTS if each[0] not in ABSENT):
        answer = await gate.api("POST", f"/{kind}", body)
        assert answer.status == 201, answer.content
    circle = {"name": "ops", "members": {"user:alice": "owner", "service:ci": "member"}}
    assert (await gate.api("PUT", "/teams/ops", circle)).status == 200


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def test_an_export_that_was_imported_is_exported_as_the_same_bytes(
    gateway: StartGateway, tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    where = {"database": f"literal:{request.getfixturevalue('postgres_url')}"} if database == "postgres" else {}
    first = await gateway(enable=PLUGINS, data_dir=tmp_path / "first")
    await fill(first)
    plain, sealed = await exported(first), await exported_with_credentials(first)

    second = await gateway(enable=PLUGINS, data_dir=tmp_path / "second", **where)
    report = await imported(second, sealed, passphrase=PASSPHRASE, trusted=True)

    assert report["outcome"] == "done", report
    assert set(actions(report).values()) == {"created"}
    assert formatted(await exported(second)) == formatted(plain)
    assert plain["objects"]["upstreams"][0]["description"] == "somebody wrote [redacted] here"
    assert not [secret for secret in ("top-secret-token", "another-secret") if secret in formatted(sealed)]
    again = await imported(second, sealed, passphrase=PASSPHRASE, trusted=True)
    assert set(actions(again).values()) == {"unchanged"}
    bare = await gateway(enable=PLUGINS, data_dir=tmp_path / "third")
    report = await imported(bare, plain, trusted=True)
    missing = {row["name"]: row["missing"] for row in report["objects"] if row["missing"]}
    assert missing == {"billing": ["/auth/token", "/headers/X-Key"]}
    assert formatted(await exported(bare)) == formatted(plain), "without credentials too"


async def test_some_objects_can_be_exported_and_what_the_file_declares_when_it_is_named(gateway: StartGateway) -> None:
    filed = {"name": "filed", "kind": "http", "endpoints": ["https://f.example.com/"], "enabled": False}
    gate = await gateway(enable=PLUGINS, upstreams=[filed])
    await fill(gate)

    async def names(*what: str) -> dict[str, list[str]]:
        found = await exported(gate, *what)
        return {kind: [one["name"] for one in objects] for kind, objects in found["objects"].items()}

    assert await names("upstream/billing", "teams") == {"upstreams": ["billing"], "teams": ["ops"]}
    assert await names("upstreams") == {"upstreams": ["billing"]}
    assert await names("upstreams/filed") == {"upstreams": ["filed"]}
    for unknown in ("upstreams/nothing", "nothings"):
        assert (await gate.api("POST", "/export", {"what": [unknown]})).status == 404
