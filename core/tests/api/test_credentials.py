"""Credentials of upstreams that are sent as values, through a real gateway in front of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from toolway_testing.gateway import RunningGateway, StartGateway


class Pair:
    """A gateway, and the one behind it, which knows only its own token."""

    def __init__(self, front: RunningGateway, behind: RunningGateway, directory: Path) -> None:
        self.front, self.behind, self._directory = front, behind, directory

    def body(self, token: str, **more: Any) -> dict[str, Any]:
        auth = {"type": "bearer", "token": token}
        return {"name": "behind", "endpoints": [f"{self.behind.url}/mcp"], "allow_private": True, "auth": auth, **more}

    async def status(self) -> int:
        """Of a discovery with the stored credential."""
        return (await self.front.api("POST", "/upstreams/behind/refresh")).status

    def stored(self) -> bytes:
        return b"".join(file.read_bytes() for file in self._directory.iterdir() if file.name.startswith("toolway.db"))


@pytest_asyncio.fixture
async def pair(gateway: StartGateway, tmp_path: Path) -> Pair:
    behind = await gateway(data_dir=tmp_path / "behind")
    return Pair(await gateway(), behind, tmp_path / "data")


async def test_a_credential_that_is_posted_as_a_value_is_used_stored_encrypted_and_never_read_back(pair: Pair) -> None:
    posted = await pair.front.api("POST", "/upstreams", pair.body(pair.behind.token))

    assert (posted.status, posted.content["auth"]) == (201, {"type": "bearer", "token": "sealed:hidden"})
    assert await pair.status() == 200
    assert pair.behind.token.encode() not in pair.stored()
    assert pair.behind.token not in str((await pair.front.api("GET", "/upstreams/behind")).content)


async def test_what_was_read_can_be_put_back_and_keeps_the_credential(pair: Pair) -> None:
    await pair.front.api("POST", "/upstreams", pair.body(pair.behind.token))
    read = (await pair.front.api("GET", "/upstreams/behind")).content

    put = await pair.front.api("PUT", "/upstreams/behind", {**read, "description": "Changed."})

    assert (put.status, put.content["description"]) == (200, "Changed.")
    assert await pair.status() == 200


async def test_a_credential_is_replaced_by_a_put(pair: Pair) -> None:
    assert (await pair.front.api("PUT", "/upstreams/behind", pair.body("wrong"))).status == 201
    assert await pair.status() == 502

    assert (await pair.front.api("PUT", "/upstreams/behind", pair.body(pair.behind.token))).status == 200
    assert await pair.status() == 200


async def test_a_hidden_credential_that_nothing_is_stored_for_is_refused(pair: Pair) -> None:
    refused = await pair.front.api("POST", "/upstreams", pair.body("sealed:hidden"))

    assert (refused.status, refused.content["code"]) == (409, "conflict")


@pytest.mark.parametrize("value", ["[redacted]", "literal:[redacted]", "Bearer [redacted]"])
async def test_what_stands_in_place_of_a_removed_credential_is_refused_as_one(pair: Pair, value: str) -> None:
    refused = await pair.front.api("PUT", "/upstreams/behind", pair.body(value))

    assert (refused.status, refused.content["code"]) == (400, "invalid_input")
    assert refused.content["errors"][0]["pointer"] == "/auth/token"
    assert "send the credential itself" in refused.content["detail"]


@pytest.mark.parametrize("reference", ["vault:kv/billing#token", "aws-secrets:billing"])
async def test_a_reference_of_a_scheme_that_no_enabled_plugin_has_is_refused(pair: Pair, reference: str) -> None:
    refused = await pair.front.api("PUT", "/upstreams/behind", pair.body(reference))

    assert (refused.status, refused.content["code"]) == (400, "invalid_input")
    assert refused.content["errors"][0]["pointer"] == "/auth/token"
    scheme = reference.partition(":")[0]
    assert f"enable the plugin that brings it, or write literal:{scheme}:" in refused.content["detail"]


@pytest.mark.parametrize(
    "value", ["user:password", "vault", "vault:", "vaulted:a/b#c", "https://a.example.com/#b", "literal:"]
)
async def test_a_value_that_has_a_colon_is_a_credential(pair: Pair, value: str) -> None:
    put = await pair.front.api("PUT", "/upstreams/behind", pair.body(value))

    assert (put.status, put.content["auth"]["token"]) == (201, "sealed:hidden")


async def test_a_value_that_looks_like_a_reference_is_sent_as_a_literal_and_stored_encrypted(pair: Pair) -> None:
    assert (await pair.front.api("PUT", "/upstreams/behind", pair.body("literal:vault:kv/a#b"))).status == 201
    assert b"vault:kv" not in pair.stored()

    assert (await pair.front.api("PUT", "/upstreams/behind", pair.body(f"literal:{pair.behind.token}"))).status == 200
    assert await pair.status() == 200


async def test_a_refused_body_does_not_repeat_its_credential(pair: Pair) -> None:
    refused = await pair.front.api("POST", "/upstreams", pair.body("hunter2", retries=99))

    assert (refused.status, refused.content["code"]) == (400, "invalid_input")
    assert "hunter2" not in str(refused.content)


async def test_an_endpoint_that_is_no_url_is_refused_when_it_is_registered(pair: Pair) -> None:
    refused = await pair.front.api("POST", "/upstreams", {"name": "odd", "kind": "http", "endpoints": ["foo"]})

    assert (refused.status, refused.content["code"]) == (400, "invalid_input")
    assert "'foo'" in refused.content["detail"]
    assert (await pair.front.api("GET", "/upstreams/odd")).status == 404
