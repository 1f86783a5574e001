"""`toolway export` and `toolway import` as a person types them, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from transferring import document

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_transfer.document import schema

BODY = {
    "name": "billing",
    "kind": "http",
    "endpoints": ["https://b.example.com/mcp"],
    "enabled": False,
    "auth": {"type": "bearer", "token": "top-secret-token"},
}
PUBLISHED = Path(__file__).parents[3] / "docs/reference/export.schema.json"


async def typed(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    given = ["toolway", "--url", gate.url, "--token", gate.token, *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", given)

    def running() -> int:
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    return await asyncio.to_thread(running)


async def test_objects_travel_with_their_credentials_from_one_gateway_to_another(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from joserfc.jwk import OKPKey

    key = OKPKey.generate_key("X25519")
    files = {name: tmp_path / name for name in ("all.json", "again.json", "private.pem", "public.jwk", "old", "new")}
    files["private.pem"].write_bytes(key.as_pem(private=True))
    files["public.jwk"].write_text(json.dumps(key.as_dict(private=False)))
    files["old"].write_text("the first passphrase\n")
    files["new"].write_text("another long passphrase\n")
    first = await gateway(enable=["transfer"], data_dir=tmp_path / "first")
    assert (await first.api("POST", "/upstreams", BODY)).status == 201
    second = await gateway(enable=["transfer"], data_dir=tmp_path / "second")

    sealed = ["--passphrase-file", files["old"], "--recipient", files["public.jwk"]]
    assert await typed(first, monkeypatch, "export", "-o", files["all.json"], *sealed) == 0
    assert files["all.json"].stat().st_mode & 0o077 == 0
    offline = ["--key", files["private.pem"], "--new-passphrase-file", files["new"], "-o", files["again.json"]]
    assert await typed(first, monkeypatch, "export", "rekey", files["all.json"], *offline) == 0
    wrong = ["import", files["again.json"], "--passphrase-file", files["old"]]
    assert await typed(second, monkeypatch, *wrong) == 1
    assert "do not open" in capsys.readouterr().err
    assert (
        await typed(second, monkeypatch, "import", files["all.json"], "--key", files["private.pem"], "--dry-run") == 0
    )
    assert await typed(second, monkeypatch, "import", files["again.json"], "--passphrase-file", files["new"]) == 0
    told = capsys.readouterr()

    assert "created" in told.out and "done (the file: toolway export)" in told.err
    shown = (await second.api("GET", "/upstreams/billing")).content
    assert shown["auth"]["token"] == "sealed:hidden"
    assert await typed(second, monkeypatch, "export", "upstream/billing") == 0
    assert json.loads(capsys.readouterr().out) == {
        **document(upstreams=[{**BODY, "auth": {"type": "bearer", "token": "sealed:hidden"}}])
    }
    texts = [path.read_text() for path in (files["all.json"], files["again.json"])]
    assert not any("top-secret-token" in text for text in (*texts, told.out, told.err))


async def test_what_is_refused_ends_with_a_failure_and_says_why(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, gate = tmp_path / "mcp.json", await gateway(enable=["transfer"])
    file.write_text('{"mcpServers": {"x": {"url": "https://x.example.com/${input:key}"}}} // a comment')

    assert await typed(gate, monkeypatch, "import", file) == 1
    assert "--input key=VALUE" in capsys.readouterr().out
    assert await typed(gate, monkeypatch, "import", file, "--input", "key=k", "--dry-run") == 0
    assert await typed(gate, monkeypatch, "import", file, "--input", "key") == 1
    assert await typed(gate, monkeypatch, "import", tmp_path / "nothing") == 1
    file.write_text("[")
    assert await typed(gate, monkeypatch, "import", file) == 1
    assert "is not JSON" in capsys.readouterr().err
    assert await typed(gate, monkeypatch, "import", file, "--mode", "odd") != 0


def test_the_published_schema_is_that_of_the_documents() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema()
