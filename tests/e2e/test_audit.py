"""The audit trail with other plugins: no change waits for another one that waits for it."""

from __future__ import annotations

import asyncio

import pytest

from toolway_testing.gateway import StartGateway

OBJECTS = 8

pytest.importorskip("toolway_audit")
pytest.importorskip("toolway_server_keys")


@pytest.mark.server
@pytest.mark.parametrize("enable", [["audit", "server-keys", "tokens"], ["server-keys", "tokens", "audit"]])
async def test_changes_of_the_same_rows_at_once_are_all_made_and_recorded(
    gateway: StartGateway, postgres_url: str, enable: list[str]
) -> None:
    gate = await gateway(enable=enable, database=f"literal:{postgres_url}")
    names = [f"s{number}" for number in range(OBJECTS)]
    for name in names:
        assert (await gate.api("POST", "/servers", {"name": name})).status == 201
    keys = [(await gate.api("POST", "/server-keys", {"servers": [name, names[0]]})).content["name"] for name in names]

    deleting = [gate.api("DELETE", f"/servers/{name}") for name in names]
    revoking = [gate.api("DELETE", f"/server-keys/{key}") for key in keys]
    making = [gate.api("POST", "/tokens", {}) for _ in names]
    answers = await asyncio.gather(*(each for three in zip(deleting, revoking, making, strict=True) for each in three))

    assert {answer.status for answer in answers} <= {201, 204}
    verdict = (await gate.api("GET", "/audit/verify")).content
    assert (verdict["is_intact"], verdict["problems"]) == (True, [])
    for action, count in (("servers.delete", OBJECTS), ("server-keys.revoke", OBJECTS), ("tokens.create", OBJECTS)):
        found = (await gate.api("GET", f"/audit?action={action}")).content["items"]
        assert len(found) == count
