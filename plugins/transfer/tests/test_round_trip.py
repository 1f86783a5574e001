"""Export, a fresh database, import, export: the same bytes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transferring import PASSPHRASE, actions, document, exported, exported_with_credentials, imported, only_row

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


@pytest.mark.skipif(find_spec("toolway_masking") is None, reason="needs toolway-masking")
async def test_masking_leaves_the_places_of_credentials_in_an_export(gateway: StartGateway, tmp_path: Path) -> None:
    first = await gateway(enable=["transfer", "masking"], api_references=["env"], data_dir=tmp_path / "first")
    headers = {"X-Key": "another-secret", "X-Auth-Token": "env:BILLING_TOKEN"}
    (body,) = [{**each, "headers": headers} for kind, each in OBJECTS if kind == "upstreams"]
    body |= {"owner": "", "description": f"it takes password=hunter2, or {first.token}"}
    assert (await first.api("POST", "/upstreams", body)).status == 201
    plain, sealed = await exported(first), await exported_with_credentials(first)

    (shown,) = plain["objects"]["upstreams"]
    assert shown["auth"]["token"] == shown["headers"]["X-Key"] == "sealed:hidden"
    assert shown["headers"]["X-Auth-Token"] == "env:BILLING_TOKEN"
    assert shown["description"] == "it takes password=[redacted] or [redacted]"
    for name, file, missing in (("second", sealed, []), ("third", plain, ["/auth/token", "/headers/X-Key"])):
        gate = await gateway(enable=["transfer", "masking"], api_references=["env"], data_dir=tmp_path / name)
        report = await imported(gate, file, passphrase=PASSPHRASE, trusted=True)
        assert only_row(report)["missing"] == missing, report
        assert formatted(await exported(gate)) == formatted(plain)


async def test_a_secret_that_is_a_part_of_a_placeholder_leaves_it_as_it_is(gateway: StartGateway) -> None:
    gate = await gateway(enable=["transfer"])
    gate.gateway.kernel.secrets.know("hidden")
    body = {"name": "a", "endpoints": ["https://a.example.com/"], "auth": {"type": "bearer", "token": "x"}}
    assert (await gate.api("POST", "/upstreams", {**body, "description": "hidden", "enabled": False})).status == 201

    (shown,) = (await exported(gate))["objects"]["upstreams"]

    assert (shown["auth"]["token"], shown["description"]) == ("sealed:hidden", "[redacted]")


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_import_refuses_what_stands_in_place_of_a_removed_credential(
    gateway: StartGateway, trusted: bool
) -> None:
    gate = await gateway(enable=["transfer"])
    body = {"name": "a", "endpoints": ["https://a.example.com/"], "auth": {"type": "bearer", "token": "[redacted]"}}

    report = await imported(gate, document(upstreams=[body]), trusted=trusted)

    assert report["outcome"] == "refused"
    assert "sealed:hidden" in only_row(report)["reason"]


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
