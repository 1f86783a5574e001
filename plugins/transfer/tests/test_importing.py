"""Modes, conflicts, names and the one transaction."""

from __future__ import annotations

import logging

import pytest
from transferring import actions, document, exported, imported, only_row

from toolway_testing.gateway import RunningGateway, StartGateway

HERE = {"name": "x", "kind": "http", "endpoints": ["https://here.example.com/"], "enabled": False, "description": "old"}
THERE = {"name": "x", "kind": "http", "endpoints": ["https://there.example.com/"], "enabled": False}
NEW = {"name": "y", "kind": "http", "endpoints": ["https://new.example.com/"], "enabled": False}
SERVER = {
    "name": "s",
    "include": ["x/*", "y/*", "xx/*"],
    "items": {"x/a": {"alias": "a"}},
}


async def with_x(gateway: StartGateway) -> RunningGateway:
    gate = await gateway(enable=["transfer"])
    assert (await gate.api("POST", "/upstreams", HERE)).status == 201
    return gate


async def test_conflicts_are_decided_as_asked_for_and_a_trial_changes_nothing(gateway: StartGateway) -> None:
    gate = await with_x(gateway)
    file, before = document(upstreams=[THERE, NEW]), await exported(gate)
    expected = {
        ("create", None): ("refused", "failed", "created"),
        ("create", "skip"): ("only checked", "skipped", "created"),
        ("create", "overwrite"): ("only checked", "changed", "created"),
        ("create", "rename"): ("only checked", "renamed", "created"),
        ("update", None): ("only checked", "changed", "skipped"),
        ("update", "fail"): ("refused", "failed", "skipped"),
        ("replace", None): ("only checked", "changed", "created"),
    }
    for (mode, conflict), outcome in expected.items():
        report = await imported(gate, file, mode=mode, conflict=conflict, dry_run=True)
        assert (report["outcome"], *actions(report).values()) == outcome, (mode, conflict, report)
    assert await exported(gate) == before

    report = await imported(gate, file)
    assert report["outcome"] == "refused" and "choose to skip" in report["objects"][0]["reason"]
    assert await exported(gate) == before, "the other one did not come in either"


async def test_a_renamed_object_is_followed_by_what_refers_to_it(gateway: StartGateway) -> None:
    gate = await with_x(gateway)

    report = await imported(gate, document(servers=[SERVER], upstreams=[THERE, NEW]), conflict="rename")

    assert actions(report) == {"servers/s": "created", "upstreams/x": "renamed", "upstreams/y": "created"}
    assert [row["new_name"] for row in report["objects"]] == ["", "x-2", ""]
    server = (await gate.api("GET", "/servers/s")).content
    assert server["include"] == ["x-2/*", "y/*", "xx/*"] and list(server["items"]) == ["x-2/a"]
    assert (await gate.api("GET", "/upstreams/x-2")).content["endpoints"] == ["https://there.example.com/"]


async def test_update_changes_members_and_replace_removes_what_the_file_does_not_have(gateway: StartGateway) -> None:
    gate = await with_x(gateway)

    updated = await imported(gate, document(upstreams=[{"name": "x", "in_flight": 7}]), mode="update")
    merged = (await gate.api("GET", "/upstreams/x")).content
    replaced = await imported(gate, document(upstreams=[NEW]), mode="replace")
    left = (await exported(gate))["objects"]

    assert only_row(updated)["action"] == "changed"
    assert (merged["in_flight"], merged["description"], merged["endpoints"]) == (7, "old", HERE["endpoints"])
    assert actions(replaced) == {"upstreams/y": "created", "upstreams/x": "removed"}
    assert left == {"upstreams": [NEW]}


async def test_accounts_that_need_each_other_come_in_together_and_each_is_recorded(
    gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await gateway(enable=["transfer"])
    file = document(
        teams=[{"name": "ops", "members": {"service:ci": "member", "user:ann": "owner"}}],
        users=[{"name": "ann"}],
        **{"service-accounts": [{"name": "ci", "owner": "team:ops"}]},
    )

    with caplog.at_level(logging.INFO, "toolway.audit"):
        report = await imported(gate, file, trusted=True)

    assert report["outcome"] == "done" and set(actions(report).values()) == {"created"}
    assert (await exported(gate))["objects"] == file["objects"]
    told = [record.getMessage() for record in caplog.records if record.name == "toolway.audit"]
    assert len(told) == 3 and all('"before":null' in line for line in told)
    assert any('"teams.create"' in line and "service:ci" in line for line in told)
    broken = document(teams=[{"name": "two", "members": {"user:nobody": "owner"}}], users=[{"name": "bea"}])
    report = await imported(gate, broken, trusted=True)
    assert report["outcome"] == "refused" and "user:nobody" in str(report["objects"])
    assert "bea" not in str(await exported(gate)), "all or nothing"


async def test_only_what_is_asked_for_is_imported(gateway: StartGateway) -> None:
    gate = await with_x(gateway)
    file = document(servers=[SERVER], upstreams=[THERE, NEW])

    assert actions(await imported(gate, file, what=["upstream/y"])) == {"upstreams/y": "created"}
    assert (await gate.api("POST", "/import", {"document": file, "what": ["teams"]})).status == 400


async def test_two_nodes_agree_after_an_import(gateway: StartGateway) -> None:
    """Every part that the import changed counts as changed."""
    gate = await gateway(enable=["transfer"])
    database = gate.gateway.kernel.database
    async with database.read() as tx:
        before = dict(await database.revisions(tx))

    await imported(gate, document(upstreams=[NEW], users=[{"name": "ann"}]), trusted=True)

    async with database.read() as tx:
        after = await database.revisions(tx)
    assert {part for part, number in after.items() if number > before.get(part, 0)} >= {"accounts", "catalog"}
