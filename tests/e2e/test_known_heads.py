"""A head that comes again on a connection of the fast runner is read once; what it may do is decided each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from toolway.gateway import head
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

STRICT = {"name": "strict", "access": "authenticated"}
Call = Callable[[], Awaitable[Answer]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests whose heads were read."""
    paths, original = list[str](), head._read

    def counted(scope: Any) -> head.Head:
        paths.append(scope["path"])
        return original(scope)

    monkeypatch.setattr(head, "_read", counted)
    return paths


async def known(gate: RunningGateway, read: list[str], token: str) -> Call:
    """A call whose head is known: it is not read any more."""
    await eventually(lambda: gate.gateway.plane.view("strict").listed("tool"))
    fields = {"authorization": f"Bearer {token}"}

    async def call() -> Answer:
        return await gate.call("demo__echo", {"text": "hello"}, server="strict", headers=fields)

    for _ in range(4):
        assert (await call()).status == 200
    read.clear()
    assert (await call()).status == 200
    assert read == []
    return call


async def test_a_revoked_credential_is_refused(gateway: StartGateway, read: list[str]) -> None:
    gate = await gateway(enable=["uvicorn", "tokens"], servers=[STRICT], demo=True)
    assert (await gate.api("POST", "/users", {"name": "alice"})).status == 201
    token = (await gate.api("POST", "/tokens", {"subject": "user:alice"})).content
    call = await known(gate, read, token["token"])

    read.clear()
    assert (await gate.api("DELETE", f"/tokens/{token['name']}")).status == 204
    refused = await call()

    assert refused.status == 401
    assert [path for path in read if "mcp" in path] == []


async def test_after_a_reload_the_gateway_that_serves_decides(gateway: StartGateway, read: list[str]) -> None:
    gate = await gateway(enable=["uvicorn"], servers=[STRICT], demo=True)
    call = await known(gate, read, gate.token)

    await gate.reload(servers=())
    gone = await call()

    assert gone.status == 404
    assert read == []
