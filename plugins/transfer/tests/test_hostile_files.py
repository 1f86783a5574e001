"""A file that somebody else wrote gives nobody more than they have, and reads nothing of the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from transferring import PASSPHRASE, document, exported_with_credentials, imported, only_row

from toolway_testing.gateway import StartGateway
from toolway_transfer.document import digest
from toolway_transfer.envelope import seal

EVIL = "https://evil.example.com/mcp"


def upstream(**members: Any) -> dict[str, Any]:
    return document(upstreams=[{"name": "x", "kind": "http", "endpoints": [EVIL], "enabled": False, **members}])


REFUSED: dict[str, tuple[Any, str]] = {
    "a program": (
        document(upstreams=[{"name": "x", "kind": "stdio", "command": ["sh", "-c", "id"]}]),
        "it is a program",
    ),
    "a program in mcpServers": ({"mcpServers": {"x": {"command": "sh", "args": ["-c", "id"]}}}, "it is a program"),
    "a private address": (upstream(endpoints=["http://127.0.0.1:5432/"]), "address is not public"),
    "a metadata service": (upstream(endpoints=["http://169.254.169.254/"], allow_private=True), "not public"),
    "a private address for tokens": (
        upstream(
            auth={
                "type": "client-credentials",
                "token_url": "http://10.0.0.1/token",
                "client_id": "c",
                "client_secret": "s",
            }
        ),
        "not public",
    ),
    "a file URL": (upstream(endpoints=["file:///etc/passwd"]), "http"),
    "a reference to the environment": (upstream(auth={"type": "bearer", "token": "env:HOME"}), "api_references"),
    "a reference to a file": (upstream(headers={"X-Key": "file:/etc/passwd"}), "api_references"),
    "an unknown member": (upstream(revision=7, id="0"), "is not a setting"),
    "an unknown collection": (document(secrets=[{"name": "x"}]), "there are no 'secrets'"),
}
UNREADABLE: dict[str, tuple[Any, str]] = {
    "another version": ({"format": "toolway-export", "version": 2, "objects": {}}, "version 1"),
    "more members": ({**document(), "more": 1}, "more is not a setting"),
    "two of one name": (document(teams=[{"name": "a"}, {"name": "a"}]), "two of one name"),
    "no name": (document(teams=[{"description": "x"}]), "name is missing"),
    "nothing known": ({"hello": 1}, "no known form"),
    "too deep": (
        document(upstreams=[{"name": "x", "a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}]),
        "deeper",
    ),
    "too many": (document(teams=[{"name": f"t{number}"} for number in range(51)]), "more than 50 objects"),
    "too long": (document(teams=[{"name": "t", "description": "x" * 20_000}]), "longer than 20000 bytes"),
    "a costly passphrase": (
        {**document(), "credentials": {"passphrase": {"n": 2**30, "salt": "A" * 22}, "jwe": {}}},
        "credentials.passphrase.n",
    ),
}


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_would_open_a_door_is_refused_whoever_imports_it(gateway: StartGateway, trusted: bool) -> None:
    limits = {"max_bytes": 20_000, "max_objects": 50}
    gate = await gateway(enable=["transfer"], plugins={"transfer": limits})

    for what, (file, reason) in REFUSED.items():
        row = only_row(await imported(gate, file, trusted=trusted))
        assert (row["action"], reason in row["reason"]) == ("failed", True), (what, row)
    for what, (file, reason) in UNREADABLE.items():
        answer = await gate.api("POST", "/import", {"document": file, "trusted": trusted})
        assert (answer.status, reason in str(answer.content["detail"])) == (400, True), (what, answer.content)

    assert (await gate.api("GET", "/upstreams")).content["items"] == []


async def test_owners_rights_and_open_access_are_not_taken_from_a_file(gateway: StartGateway) -> None:
    pytest.importorskip("toolway_rbac")
    pytest.importorskip("toolway_tokens")
    gate = await gateway(enable=["transfer", "rbac", "tokens"])
    file = document(
        bindings=[{"name": "b", "subject": "user:mallory", "role": "admin"}],
        roles=[{"name": "everything", "permissions": ["admin:*"]}],
        servers=[{"name": "open", "access": "public", "owner": "user:mallory"}],
        teams=[{"name": "ops", "members": {"user:mallory": "owner"}}],
        upstreams=[
            {"name": "x", "endpoints": [EVIL], "enabled": False, "owner": "user:mallory", "allow_private": True}
        ],
        users=[{"name": "mallory", "admin": True}],
        **{"token-policies": [{"name": "user:mallory", "max_ttl": 10**9}], "service-accounts": [{"name": "bot"}]},
    )

    report = await imported(gate, file)

    assert report["outcome"] == "done"
    actions = {row["kind"]: row["action"] for row in report["objects"]}
    assert actions.pop("upstreams") == actions.pop("servers") == "created"
    assert set(actions.values()) == {"skipped"} and len(actions) == 6
    reasons = {row["reason"].rpartition(", ")[2] for row in report["objects"] if row["action"] == "skipped"}
    assert reasons == {"import it with --trusted"}
    assert {row["kind"]: row["ignored"] for row in report["objects"] if row["ignored"]} == {
        "servers": ["access", "owner"],
        "upstreams": ["allow_private", "owner"],
    }
    server, x = [(await gate.api("GET", path)).content for path in ("/servers/open", "/upstreams/x")]
    assert (server["access"], server["owner"], x["owner"], x["allow_private"]) == ("authenticated", "", "", False)
    assert (await gate.api("GET", "/users")).content["items"] == []


async def test_a_stored_credential_is_not_sent_elsewhere_by_a_file(gateway: StartGateway) -> None:
    gate = await gateway(enable=["transfer"])
    mine = {"name": "x", "endpoints": ["https://good.example.com/"], "enabled": False}
    mine |= {"auth": {"type": "bearer", "token": "my-own-secret"}, "visibility": "private", "owner": "team:ops"}
    assert (await gate.api("POST", "/upstreams", mine)).status == 201
    hidden = {"type": "bearer", "token": "sealed:hidden"}

    elsewhere = only_row(await imported(gate, upstream(auth=hidden), conflict="overwrite", dry_run=True))
    renamed = only_row(await imported(gate, upstream(auth=hidden), conflict="rename", dry_run=True))
    harmless = document(upstreams=[{**mine, "auth": hidden, "description": "better", "visibility": "public"}])
    same = only_row(await imported(gate, harmless, conflict="overwrite"))

    assert elsewhere["missing"] == renamed["missing"] == ["/auth/token"]
    assert same["missing"] == [] and same["ignored"] == ["visibility"]
    shown = (await gate.api("GET", "/upstreams/x")).content
    assert (shown["description"], shown["visibility"], shown["owner"]) == ("better", "private", "team:ops")
    kept = await exported_with_credentials(gate)
    again = await imported(gate, kept, passphrase=PASSPHRASE, trusted=True)
    assert only_row(again)["action"] == "unchanged", "it still has the credential"


async def test_encrypted_credentials_go_with_the_object_that_they_were_exported_with(gateway: StartGateway) -> None:
    gate = await gateway(enable=["transfer"])
    good = upstream(auth={"type": "bearer", "token": "sealed:hidden"})["objects"]["upstreams"][0]

    def with_credentials(value: dict[str, Any], of: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
        envelope = seal({"upstreams/x": {"digest": digest(of), "values": values}}, PASSPHRASE, (), is_random=True)
        return {**document(upstreams=[value]), "credentials": envelope.model_dump(mode="json")}

    token = {"/auth/token": "secret-of-good"}
    edited = {**good, "endpoints": ["https://other.example.com/"]}
    files = {
        "edited": (with_credentials(edited, good, token), "edited after"),
        "reference": (with_credentials(good, good, {"/auth/token": "env:HOME"}), "begins as a secret reference"),
        "elsewhere": (with_credentials(good, good, {"/description": "x"}), "no place"),
        "as it was": (with_credentials(good, good, token), ""),
    }
    for what, (file, reason) in files.items():
        row = only_row(await imported(gate, file, passphrase=PASSPHRASE, dry_run=True))
        assert reason in row["reason"] and (row["action"] == "failed") is bool(reason), (what, row)


async def test_whoever_imports_needs_the_permission_for_each_object(gateway: StartGateway) -> None:
    pytest.importorskip("toolway_rbac")
    pytest.importorskip("toolway_tokens")
    gate = await gateway(enable=["transfer", "rbac", "tokens"], plugins={"transfer": {"allow_programs": True}})
    assert (await gate.api("POST", "/users", {"name": "bob"})).status == 201
    binding = {"name": "bob", "subject": "user:bob", "permission": "upstreams:*:bob-*"}
    assert (await gate.api("POST", "/bindings", binding)).status == 201
    token = (await gate.api("POST", "/tokens", {"subject": "user:bob", "ttl": "1h"})).content["token"]
    for name in ("bob-old", "theirs"):
        body = {"name": name, "endpoints": [EVIL], "enabled": False}
        assert (await gate.api("POST", "/upstreams", body)).status == 201

    async def by_bob(name: str, **members: Any) -> str:
        body = {"name": name, "kind": "http", "endpoints": [EVIL], "enabled": False, **members}
        order = {"document": document(upstreams=[body]), "conflict": "overwrite", "trusted": True, "dry_run": True}
        answer = await gate.api("POST", "/import", order, token=token)
        assert answer.status == 200, answer.content
        row = answer.content["objects"][0]
        return str(row["action"] if row["action"] != "failed" else row["reason"])

    assert await by_bob("bob-new") == "created"
    assert await by_bob("bob-old", description="x") == "changed"
    assert "permission" in await by_bob("alices")
    assert await by_bob("theirs", description="x") == "upstreams has no 'theirs'"
    assert "permission" in await by_bob("bob-new", owner="team:ops")
    assert "administrator" in await by_bob("bob-new", kind="stdio", endpoints=None)
    exported = await gate.api("POST", "/export", {}, token=token)
    assert [one["name"] for one in exported.content["objects"]["upstreams"]] == ["bob-old"]
    refused = await gate.api("POST", "/export", {"passphrase": PASSPHRASE}, token=token)
    assert refused.status == 403
