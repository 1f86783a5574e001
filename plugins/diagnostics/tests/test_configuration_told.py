"""What is told of a configuration: origins, and nothing secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from toolway_diagnostics.configuration import literals, told

LEAKED = "hunter2hunter2"


class Inner(BaseModel):
    bind: str = "127.0.0.1:4440"
    database: str | None = None
    page_size: int = 10


class Tables(BaseModel):
    gateway: Inner = Inner()
    plugins: dict[str, Any] = {}
    upstreams: list[dict[str, Any]] = []


def rows(config: BaseModel, files: list[Path] | None = None, environ: dict[str, str] | None = None) -> dict[str, Any]:
    return {each["path"]: each for each in told(config, files or [], environ or {})}


def test_each_value_has_the_origin_that_wins(tmp_path: Path) -> None:
    file, drop_in, mounted = tmp_path / "toolway.toml", tmp_path / "more.toml", tmp_path / "secrets"
    file.write_text('[gateway]\nbind = "a:1"\npage_size = 1\n[[upstreams]]\nname = "billing"\nkind = "http"\n')
    drop_in.write_text("[gateway]\npage_size = 2\n")
    mounted.mkdir()
    (mounted / "TOOLWAY_GATEWAY__DATABASE").write_text("env:X")
    environ = {
        "TOOLWAY_PLUGINS__RATE_LIMIT__RULES": '[{"name": "a"}]',
        "TOOLWAY_GATEWAY__BIND": "b:2",
        "TOOLWAY_SECRETS_DIR": str(mounted),
        "TOOLWAY_DATABASE": "x",
    }
    config = Tables(
        gateway=Inner(bind="b:2", database="env:X", page_size=2),
        plugins={"rate-limit": {"rules": [{"name": "a"}]}, "enable": []},
        upstreams=[{"name": "billing", "kind": "http"}],
    )

    found = {path: each["origin"] for path, each in rows(config, [file, drop_in], environ).items()}

    assert found == {
        "gateway.bind": "environment: TOOLWAY_GATEWAY__BIND",
        "gateway.database": "TOOLWAY_SECRETS_DIR: TOOLWAY_GATEWAY__DATABASE",
        "gateway.page_size": "more.toml",
        "plugins.rate-limit.rules.a.name": "environment: TOOLWAY_PLUGINS__RATE_LIMIT__RULES",
        "plugins.enable": "default",
        "upstreams.billing.name": "toolway.toml",
        "upstreams.billing.kind": "toolway.toml",
    }


@pytest.mark.parametrize(
    "upstream",
    [
        {"auth": {"type": "bearer", "token": f"literal:{LEAKED}"}},
        {"auth": {"type": "bearer", "token": LEAKED}},
        {"endpoints": [f"https://u:{LEAKED}@example.com/mcp?api_key={LEAKED}&x=1"]},
        {"command": ["program", "--api-key", LEAKED, f"--token={LEAKED}"]},
        {"headers": {"x-any": LEAKED}},
        {"env": {"ANY": LEAKED}},
        {"deep": [{"client_secret": [LEAKED]}]},
    ],
)
def test_no_secret_is_told(upstream: dict[str, Any]) -> None:
    found = rows(Tables(upstreams=[{"name": "a", **upstream}]))

    assert LEAKED not in str(found) and "[redacted]" in str(found)


def test_references_are_told_and_literals_are_found() -> None:
    auth = {"type": "bearer", "token": "env:BILLING_TOKEN"}
    config = Tables(upstreams=[{"name": "a", "auth": auth}, {"name": "b", "auth": {"token": "literal:x"}}])

    found = rows(config)

    assert found["upstreams.a.auth.token"]["value"] == "env:BILLING_TOKEN"
    assert found["upstreams.a.auth.type"]["value"] == "bearer"
    assert list(literals(config.model_dump())) == ["upstreams.b.auth.token"]
