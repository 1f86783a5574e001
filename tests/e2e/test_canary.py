"""Secrets that are planted wherever one can enter are in nothing that the gateway tells, whatever fails.

What a client sends as arguments, and gets as a result, is its own: it is passed on as it is, and never logged.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import canary
import pytest
import running
import wire
from canary_stage import TOOLWAY, Stage, commands, look

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.processes import serving

pytest.importorskip("toolway_masking")
pytest.importorskip("toolway_json_logging")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HERE = Path(canary.__file__).parent
TRICKS = ("echoing_fault", "echoing_status", "echoing_challenge", "echoing_nonsense")
OPTIONAL = (
    *("audit", "otel", "prometheus", "tokens", "server-keys", "breaker", "balancer", "reload", "transfer"),
    "diagnostics",
)
UPSTREAM = '[[upstreams]]\nname = "a"\nkind = "http"\nendpoints = ["http://x/"]\n'


def toml(folder: Path, secrets: dict[str, str], url: str, port: int, form: str, collector: str) -> str:
    """A gateway with every way of presenting a credential to an upstream."""
    enabled = [*(name for name in OPTIONAL if name in _installed()), "masking", "canary"]
    enabled += ["json-logging"] if form else []
    auths = {
        "env": '{ type = "bearer", token = "env:CANARY_ENV" }',
        "file": f'{{ type = "header", name = "X-Api-Key", value = "file:{folder}/key" }}',
        "literal": f'{{ type = "basic", username = "u", password = "literal:{secrets["Literal"]}" }}',
        "broken": '{ type = "bearer", token = "canary:x" }',
    }
    tables = [running.upstream_table(name, url).rstrip() + f"\nauth = {auth}\n" for name, auth in auths.items()]
    tables.append(running.upstream_table("odd", f"http://u:{secrets['Userinfo']}@127.0.0.1:1/mcp"))
    audit = '[plugins.audit]\ncalls = "all"\n' if "audit" in enabled else ""
    sent = f'endpoint = "{collector}"\nsample_ratio = 1.0\nmetrics_interval = 1.0\n'
    otel = f"[plugins.otel]\n{sent}" if "otel" in enabled else ""
    return (
        f'[gateway]\nbind = "127.0.0.1:{port}"\ndata_dir = "{folder}/data"\ndrain_delay = 0\napi_references = ["env"]\n'
        f"[plugins]\nenable = {json.dumps(enabled)}\n"
        + (f'[plugins.json-logging]\nformat = "{form}"\n' if form else "")
        + audit
        + otel
        + "".join(tables)
    )


def _installed() -> set[str]:
    from importlib.metadata import entry_points

    return {each.name for each in entry_points(group="toolway.plugins")}


@pytest.fixture(scope="module", params=["json", "text", ""], ids=["json", "text", "kernel"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything has failed, everywhere; what can be read was read."""
    folder = tmp_path_factory.mktemp("canary")
    secrets = {name: canary.planted(name) for name in ("Env", "File", "Literal", "Sealed", "Bearer", "Key", "Basic")}
    secrets |= {name: canary.planted(name) for name in ("Query", "Body", "Argument", "Cookie", "Userinfo")} | {
        "Form": canary.TOKEN
    }
    (folder / "key").write_text(secrets["File"])
    path = os.pathsep.join([str(canary.installed(folder / "installed")), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "CANARY_ENV": secrets["Env"], "PYTHONPATH": path}
    port, file = free_port(), folder / "toolway.toml"
    with running.raw_upstream(folder) as url, canary.collector() as (collector, exported):
        file.write_text(toml(folder, secrets, url, port, request.param, collector))
        with serving(file, environment=environment) as log:
            token = re.findall(r"twa_[\w-]+", log.read_text())[0]
            base = url.removesuffix("/mcp")
            built = Stage(f"http://127.0.0.1:{port}", base, token, log, file, secrets, environment)
            sealed = {"type": "bearer", "token": secrets["Sealed"]}
            body = {"name": "sealed", "kind": "http", "endpoints": [url], "allow_private": True, "auth": sealed}
            assert built.ask("POST", "/api/v1/upstreams", body).status == 201
            for name in ("env", "file", "literal", "sealed"):
                eventually_now(lambda name=name: b'"up"' in built.ask("GET", f"/api/v1/upstreams/{name}").body)  # type: ignore[misc]
            provoke(built)
            look(built)
            commands(built)
        built.answers += [f"exported\n{each}" for each in exported]
        yield built


def provoke(stage: Stage) -> None:
    """Failures of upstreams, clients, and of a plugin of each kind."""
    mine = {"authorization": f"Bearer {stage.token}"}
    for name, trick in product(("env", "file", "literal", "sealed"), TRICKS):
        stage.order(trick, "tools/call")
        stage.call(f"{name}__echo_raw", mine)
    client = wire.LegacyClient(f"{stage.url}/mcp", headers=mine)
    for trick in TRICKS:
        stage.order(trick, "tools/call")
        answer = client.request("tools/call", {"name": "env__echo_raw", "arguments": {}})
        stage.answers.append(f"legacy {trick}\n{answer.headers}\n{answer.body.decode()}")
    for trick in TRICKS:
        stage.order(trick)
        for name in ("env", "file", "literal", "sealed", "broken"):
            stage.ask("POST", f"/api/v1/upstreams/{name}/refresh")
            stage.ask("GET", f"/api/v1/upstreams/{name}")
    stage.ask("GET", "/api/v1/health")
    stage.order(None)
    for who, presented in product(canary.PROVIDERS, ({}, *credentials(stage.secrets))):
        stage.call("env__echo_raw", {**mine, **presented, "x-canary": who})
        stage.ask("GET", "/api/v1/canary", **{**presented, "x-canary": who})
        stage.ask("POST", "/api/v1/users", {"name": who.replace(" ", "-")}, **{"x-canary": who, **presented})
    secret = stage.secrets["Query"]
    for path in (f"/mcp?access_token={secret}", f"/api/v1/upstreams?token={secret}", f"/nothing?api_key={secret}"):
        stage.call("env__echo_raw", {**mine, "x-canary": "middleware"}, path=path)
        stage.ask("GET", path)
    body = stage.secrets["Body"]
    for path, sent in product(("/users", "/session", "/upstreams", "/tokens"), bodies(body)):
        stage.ask("POST", f"/api/v1{path}", sent)
    arguments = {"password": stage.secrets["Argument"], "text": [stage.secrets["Argument"]]}
    for who in ("", *canary.PROVIDERS):
        stage.order("echoing_fault", "tools/call")
        stage.call("env__echo_raw", {**mine, "x-canary": who}, arguments)
    stage.order(None)


def credentials(secrets: dict[str, str]) -> Iterator[dict[str, str]]:
    """Those that nobody accepts."""
    yield {"authorization": f"Bearer {secrets['Bearer']}"}
    yield {"authorization": "Basic " + base64.b64encode(f"u:{secrets['Basic']}".encode()).decode()}
    yield {"authorization": secrets["Bearer"]}
    yield {"x-api-key": secrets["Key"]}
    yield {"cookie": f"toolway_session={secrets['Cookie']}"}


def bodies(secret: str) -> Iterator[Any]:
    """What no operation takes."""
    yield {"name": "odd", "password": secret, "more": secret}
    yield {"username": "nobody", "password": secret}
    yield {"name": "odd", "kind": "http", "endpoints": [f"http://u:{secret}@127.0.0.1:1/mcp"], "allow_private": True}
    auth = {"type": "bearer", "token": {"value": secret}, "secret": secret}
    yield {"name": "odd", "kind": "http", "endpoints": ["http://127.0.0.1:1/mcp"], "auth": auth}
    yield {"password": [secret], "token": {secret: secret}}


def test_no_secret_is_in_the_log(stage: Stage) -> None:
    lines = stage.log.read_text().splitlines()

    assert {
        name: [line for line in lines if name in stage.found(line)][:2] for name in stage.found("\n".join(lines))
    } == {}
    text = "\n".join(lines)
    assert text.count("[redacted") > 50, "the secrets were on their way into it"
    assert [each for each in canary.PROVIDERS if f"{each} broke" not in text and each != "upstream error"] == []


def test_no_secret_is_in_what_anybody_is_told(stage: Stage) -> None:
    found = {name: each[:2000] for each in stage.answers for name in stage.found(each)}

    assert not found, found
    assert any("[redacted]" in each for each in stage.answers)
    reports = [each for each in stage.answers if each.startswith("GET /api/v1/diagnostics/bundle 200")]
    assert "diagnostics" not in _installed() or all(
        name in reports[0] for name in ("plugin canary", "plugin breaker", "plugin balancer", "plugin reload")
    )
    assert "otel" not in _installed() or any("tools/call" in each for each in stage.answers if "exported" in each[:8])


def test_a_token_is_shown_only_when_it_is_made(stage: Stage) -> None:
    lines = stage.log.read_text().splitlines()

    shown = [
        line for line in lines if stage.token in line and "first admin token" not in line and "--token" not in line
    ]
    assert shown == []


@pytest.mark.parametrize(
    "table",
    [
        '[gateway]\ndatabase = "literal:postgresql+psycopg://u:{}@127.0.0.1:1/x"\n',
        '[gateway]\ndatabase = "literal:nosql://u:{}@127.0.0.1:1/x"\n',
        '[gateway]\ndatabase = "{}"\n',
        '[gateway]\nroot_key = "{}"\n',
        'x = "{}\n',
        '[[upstreams]]\nname = "a"\nkind = "http"\nendpoints = ["http://u:{}@127.0.0.1:1/mcp"]\n',
        UPSTREAM + 'auth = {{ type = "bearer", token = "{}" }}\n',
        UPSTREAM + 'auth = {{ type = "bearer", token = ["{}"] }}\n',
        '[plugins]\nenable = ["masking"]\n[plugins.masking]\nemails = "{}"\nsecret = "{0}"\n',
    ],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_configuration_that_cannot_be_used_is_refused_without_its_secrets(
    tmp_path: Path, table: str, command: str
) -> None:
    if command == "serve" and "upstreams" in table:
        pytest.skip("such an upstream is left out and told in the log, see there")
    secret, file = canary.planted("Config"), tmp_path / "toolway.toml"
    file.write_text(table.replace("{}", "{0}").format(secret))

    done = subprocess.run(
        [TOOLWAY, command, "--config", str(file)], capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path
    )

    assert done.returncode != 0
    assert secret not in done.stdout + done.stderr
