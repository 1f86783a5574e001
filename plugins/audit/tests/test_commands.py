"""`toolway audit …` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

Typed = Callable[..., Awaitable[tuple[int, str, str]]]
UPSTREAM = {"kind": "http", "endpoints": ["http://127.0.0.1:1"], "allow_private": True}


@pytest_asyncio.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    gate = await gateway(enable=["audit"], plugins={"audit": {"interval": 0.02}})
    await eventually(lambda: _is_written(gate))
    for number in range(3):
        await gate.api("POST", "/upstreams", {"name": f"u{number}", **UPSTREAM})
    return gate


async def _is_written(gate: RunningGateway) -> bool:
    return bool((await gate.api("GET", "/audit")).content["items"])


@pytest.fixture
def typed(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Typed:
    """`toolway audit` with these arguments: its exit code and what it wrote on both streams."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def type_in(*arguments: str) -> int:
        command = ["toolway", "audit", *arguments, "--json", "--url", gate.url, "--token", gate.token]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            run()
        sys.stdout.flush()
        return int(ended.value.code or 0)

    async def typed_in(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(type_in, *arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return typed_in


async def test_the_trail_is_listed_with_filters(typed: Typed) -> None:
    code, out, _ = await typed("list", "--action", "upstreams.*", "--limit", "2")
    assert code == 0
    assert [record["object"] for record in json.loads(out)] == ["upstreams/u2", "upstreams/u1"]

    assert json.loads((await typed("list", "--object", "upstreams/u0", "--actor", "admin"))[1])[0]["outcome"] == "ok"
    assert json.loads((await typed("list", "--outcome", "refused"))[1]) == []
    assert json.loads((await typed("list", "--until", "2000-01-01T00:00:00Z"))[1]) == []
    assert json.loads((await typed("list", "--since", "2099-01-01T00:00:00Z"))[1]) == []


async def test_an_export_is_verified_from_its_file(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    assert (await typed("export", str(file)))[0] == 0
    code, out, err = await typed("verify", "--file", str(file))
    assert code == 0
    assert json.loads(out)["end"] == json.loads((await typed("verify"))[1])["end"]
    assert "4 records are intact; up to the end of the export" in err

    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    code, _, err = await typed("verify", "--file", str(file))
    assert code != 0
    assert "the audit trail is not intact: record 3 is missing" in err


async def test_a_selection_is_exported_to_the_standard_output(typed: Typed, tmp_path: Path) -> None:
    code, out, _ = await typed("export", "--object", "upstreams/u1")
    assert (code, len(out.splitlines())) == (0, 2)
    file = tmp_path / "some.jsonl"
    file.write_text(out)

    assert "1 records are intact; it is a selection" in (await typed("verify", "--file", str(file)))[2]


async def test_verify_fails_with_the_first_problem_and_knows_an_earlier_end(typed: Typed, gate: RunningGateway) -> None:
    end = json.loads((await typed("verify"))[1])["end"]
    assert (await typed("verify", "--known", end))[0] == 0
    assert "is another one than you noted" in (await typed("verify", "--known", f"2:{'f' * 64}"))[2]

    async with gate.gateway.kernel.database.write() as tx:
        await (await tx.session.connection()).execute(text("update audit_record set action = 'x' where seq = 2"))

    code, out, err = await typed("verify")
    assert code != 0
    assert json.loads(out)["problems"][0]["seq"] == 2
    assert "the audit trail is not intact: record 2 was altered" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "--file", "/nowhere"], "/nowhere cannot be read: No such file or directory"),
        (["verify", "--known", "here"], "'here' is no place in the trail; write number:hash"),
        (["list", "--since", "yesterday"], "since"),
        (["export", "--until", "tomorrow"], "until"),
    ],
)
async def test_what_fails_is_said_in_one_sentence(typed: Typed, arguments: list[str], sentence: str) -> None:
    code, _, err = await typed(*arguments)

    assert code != 0
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
