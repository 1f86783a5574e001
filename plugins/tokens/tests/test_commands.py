"""`toolway tokens …` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway

Typed = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest_asyncio.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    return await gateway(enable=["tokens"])


@pytest.fixture
def typed(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Typed:
    """`toolway tokens` with these arguments: its exit code and what it wrote on both streams."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def type_in(*arguments: str) -> int:
        monkeypatch.setattr(
            sys, "argv", ["toolway", "tokens", *arguments, "--json", "--url", gate.url, "--token", gate.token]
        )
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    async def typed_in(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(type_in, *arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return typed_in


async def test_a_token_from_its_making_to_its_end(typed: Typed, gate: RunningGateway) -> None:
    limits = ["--scope", "upstreams:read:*", "--scope", "tokens:read:*", "--network", "127.0.0.1"]
    code, out, err = await typed("create", "--ttl", "1h", *limits, "--name", "nightly report")
    made: dict[str, Any] = json.loads(out)
    assert code == 0 and "it is not shown again" in err
    assert (made["description"], made["networks"]) == ("nightly report", ["127.0.0.1/32"])
    assert (await gate.api("GET", "/upstreams", token=made["token"])).status == 200

    listed = json.loads((await typed("list"))[1])
    shown = json.loads((await typed("get", made["name"]))[1])
    assert [token["name"] for token in listed] == [made["name"]]
    assert made["token"] not in json.dumps([listed, shown])

    assert (await typed("revoke", made["name"]))[0] == 0
    assert (await gate.api("GET", "/upstreams", token=made["token"])).status == 401


async def test_one_time_tokens_for_servers_and_tools(typed: Typed) -> None:
    _, out, _ = await typed(
        *("create", "--one-time", "--server", "s", "--tool", "a/*", "--expires-at", "2027-01-31T12:00:00Z")
    )

    made = json.loads(out)
    assert (made["single_use"], made["servers"], made["items"]) == (True, ["s"], ["a/*"])
    assert made["expires_at"] == "2027-01-31T12:00:00Z"


async def test_keys_are_rotated(typed: Typed) -> None:
    await typed("create")

    keys = json.loads((await typed("rotate-keys"))[1])["items"]

    assert [key["alg"] for key in keys] == ["ES256", "ES256"]


async def test_policies(typed: Typed) -> None:
    assert (await typed("policies", "set", "team:ops", "--max-ttl", "7d"))[0] == 0
    assert (await typed("policies", "set", "team:ops", "--max-ttl", "6d", "--default-ttl", "1d"))[0] == 0

    assert [policy["max_ttl"] for policy in json.loads((await typed("policies", "list"))[1])] == ["6d"]
    assert json.loads((await typed("policies", "get", "team:ops"))[1])["default_ttl"] == "1d"
    assert (await typed("policies", "remove", "team:ops"))[0] == 0
    assert json.loads((await typed("policies", "list"))[1]) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "--user", "nobody"], "there is no account 'user:nobody'; make it first"),
        (["create", "--user", "a", "--service", "b"], "--user and --service are both given"),
        (["create", "--ttl", "soon"], "'soon' is no duration; write a number with d, h, m or s"),
        (["create", "--scope", "everything"], "'everything' is no permission"),
        (["create", "--network", "somewhere"], "'somewhere' does not appear to be an IPv4 or IPv6 network"),
        (["revoke", "0123456789abcdef"], "tokens has no '0123456789abcdef'"),
    ],
)
async def test_what_fails_is_said_in_one_sentence(typed: Typed, arguments: list[str], sentence: str) -> None:
    code, _, err = await typed(*arguments)

    assert code != 0 and sentence in err and len(err.strip().splitlines()) == 1
