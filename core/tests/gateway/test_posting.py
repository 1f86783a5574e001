"""HTTP+SSE where the stream is on one node and what is posted comes to another one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials
from toolway.hookspecs.permissions import Limits
from toolway_testing import trusting
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually


class WithLimits(trusting.Trusting):
    """Of the credentials, `is-limited` is one of Fred's that is no good for tools."""

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        if credentials.value != "is-limited":
            return await super().authenticate(credentials, context)
        limits = Limits(("servers:connect:*",))
        return Authenticated(self._kernel.accounts.principal("user:fred", "trusting:limited", limits))


async def test_what_is_posted_to_another_node_is_done_for_the_credential_that_posted_it(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusting, "Trusting", WithLimits)
    monkeypatch.syspath_prepend(str(trusting.installed(tmp_path / "installed")))
    shared = {"pubsub": "database", "keyvalue": "database"}
    one, two = [await gateway(enable=["trusting"], demo=True, **shared) for _ in range(2)]
    await one.api("POST", "/users", {"name": "fred"})
    for gate in (one, two):
        await eventually(lambda: gate.gateway.kernel.accounts.get("user:fred"))  # noqa: B023 - waited for here
        await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))  # noqa: B023

    async with one.http.get(f"{one.url}/sse", headers=trusting.bearer("fred")) as stream:
        path = await _data(stream)

        async def said(gate: RunningGateway, who: str) -> Any:
            message = {"jsonrpc": "2.0", "id": who, "method": "tools/call", "params": CALL}
            answer = await gate._send("POST", gate.url + path, trusting.bearer(who), message)
            assert answer.status == 202
            return json.loads(await _data(stream))

        assert "result" in await said(two, "fred")
        for gate in (one, two):
            assert (await said(gate, "limited"))["error"]["data"]["code"] == "forbidden"


CALL = {"name": "demo__echo", "arguments": {"text": "hi"}}


async def _data(stream: Any) -> str:
    async with asyncio.timeout(10):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line
    return str(line, "utf-8").removeprefix("data: ").strip()
