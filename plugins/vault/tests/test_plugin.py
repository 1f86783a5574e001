"""The plugin in a real gateway: enabled, disabled, misconfigured, and with Vault gone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from credentials import dynamic_users
from ledger import ledger
from openbao import OpenBao, unique
from pydantic import ValidationError
from sqlalchemy import text

from toolway.config.tables import PluginTables
from toolway.plugin import ConfigError, SecretUnavailable
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.postgres import Postgres, execute
from toolway_vault.settings import VaultSettings

SERVERS = [{"name": "all", "include": ["*/*"], "access": "public"}]
NOWHERE = {"address": "http://127.0.0.1:9", "login": {"method": "token", "token": "literal:of-nobody"}}


async def started(gateway: StartGateway, vault: dict[str, Any], upstream: dict[str, object]) -> RunningGateway:
    gate = await gateway(enable=["vault"], plugins={"vault": vault}, upstreams=[upstream], servers=SERVERS)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


async def whoami(gate: RunningGateway) -> str:
    content = (await gate.call("ledger__whoami", server="all")).content
    return str(content["result"]["content"][0]["text"] if "result" in content else content["error"])


async def ready(gate: RunningGateway) -> tuple[bool, str]:
    content = (await gate.api("GET", "/health")).content
    (check,) = [check for check in content["checks"] if check["name"] == "vault"]
    return content["ready"], check["detail"]


@pytest.mark.server
async def test_a_rotated_secret_reaches_the_upstream_without_a_restart(
    gateway: StartGateway, openbao: OpenBao, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mount = openbao.kv()
    openbao.put(mount, "ledger", token="first-token-of-the-ledger")
    async with ledger() as upstream:
        auth = {"type": "bearer", "token": f"vault:{mount}/ledger#token"}
        gate = await started(gateway, openbao.settings(), upstream.upstream(auth))
        assert await whoami(gate) == "Bearer first-token-of-the-ledger"

        openbao.put(mount, "ledger", token="second-token-of-the-ledger")

        async def is_new() -> bool:
            return await whoami(gate) == "Bearer second-token-of-the-ledger"

        await eventually(is_new, 5.0)
    assert "token-of-the-ledger" not in caplog.text
    assert openbao.root not in caplog.text


@pytest.mark.server
async def test_calls_go_on_while_the_leases_of_their_database_users_end(
    gateway: StartGateway, openbao: OpenBao, postgres_server: Postgres
) -> None:
    users = dynamic_users(openbao, postgres_server, "4s", "4s")
    async with ledger(users) as upstream:
        value = f"vault:{users.path}#{{username}} {{password}}"
        auth = {"type": "header", "name": "X-Database", "value": value}
        gate = await started(gateway, openbao.settings(), upstream.upstream(auth))
        seen: set[str] = set()

        async def is_the_third() -> bool:
            answers = await asyncio.gather(*(whoami(gate) for _ in range(4)))
            assert all(each.startswith("v-") for each in answers), answers
            seen.update(answers)
            return len(seen) >= 3

        await eventually(is_the_third, 10.0)


@pytest.mark.server
async def test_the_gateways_own_database_follows_the_leases_of_its_users(
    gateway: StartGateway, openbao: OpenBao, postgres_server: Postgres, postgres_url: str
) -> None:
    owner, database = unique("owner").replace("-", "_"), postgres_url.rpartition("/")[2]
    execute(postgres_server, f"create role {owner}")
    execute(postgres_server, f"alter database {database} owner to {owner}")
    users = dynamic_users(openbao, postgres_server, "2s", "2s", owner)
    place = f"127.0.0.1:{postgres_server.port}/{database}"
    url = f"vault:{users.path}#postgresql+psycopg://{{username}}:{{password:url}}@{place}"
    gate = await gateway(enable=["vault"], plugins={"vault": openbao.settings()}, database=url)
    store, seen = gate.gateway.kernel.database, set[str]()

    async def is_the_third() -> bool:
        assert await store.check() == ""
        assert (await gate.api("GET", "/upstreams")).status == 200
        async with store.read() as tx:
            seen.add(str((await tx.session.exec(text("select session_user"))).one()[0]))  # type: ignore[call-overload]
        return len(seen) >= 3

    await eventually(is_the_third, 10.0, 0.05)
    assert all(user.startswith("v-") for user in seen)


@pytest.mark.server
async def test_neither_tokens_nor_parts_of_values_are_told(gateway: StartGateway, openbao: OpenBao) -> None:
    mount = openbao.kv()
    openbao.put(mount, "db", user="application", password="hunter2/hunter2")
    kernel = (await gateway(enable=["vault"], plugins={"vault": openbao.settings()})).gateway.kernel
    await kernel.secrets.get(f"vault:{mount}/db#postgresql://{{user}}:{{password:url}}@db")

    said = kernel.redact(f"application hunter2/hunter2 hunter2%2Fhunter2 {openbao.root} and the rest")

    assert said == "[redacted] [redacted] [redacted] [redacted] and the rest"


@pytest.mark.server
async def test_a_reload_with_other_settings_of_vault_fails_no_call(gateway: StartGateway, openbao: OpenBao) -> None:
    mount = openbao.kv()
    openbao.put(mount, "ledger", token="first-token-of-the-ledger")
    async with ledger() as upstream:
        auth = {"type": "bearer", "token": f"vault:{mount}/ledger#token"}
        gate = await started(gateway, openbao.settings(), upstream.upstream(auth))

        tables: dict[str, Any] = {"enable": ["vault"], "vault": openbao.settings(poll=0.2)}
        await gate.reload(plugins=PluginTables(**tables))
        openbao.put(mount, "ledger", token="second-token-of-the-ledger")

        async def is_new() -> bool:
            said = await whoami(gate)
            assert said.startswith("Bearer "), said
            return said == "Bearer second-token-of-the-ledger"

        await eventually(is_new, 5.0)


@pytest.mark.server
async def test_a_secret_that_is_not_there_fails_the_calls_that_need_it_and_names_nothing_to_clients(
    gateway: StartGateway, openbao: OpenBao
) -> None:
    mount = openbao.kv()
    openbao.put(mount, "ledger", token="first-token-of-the-ledger")
    async with ledger() as upstream:
        auth = {"type": "bearer", "token": f"vault:{mount}/ledger#token"}
        gate = await started(gateway, openbao.settings(), upstream.upstream(auth))

        openbao.admin.secrets.kv.v2.delete_metadata_and_all_versions("ledger", mount_point=mount)

        async def is_refused() -> bool:
            return "secret_unavailable" in await whoami(gate)

        await eventually(is_refused, 5.0)
        assert await ready(gate) == (True, "")


@pytest.mark.server
async def test_ready_tells_that_vault_is_down_and_the_gateway_stays_ready(
    gateway: StartGateway, openbao_raft: OpenBao
) -> None:
    mount = openbao_raft.kv()
    openbao_raft.put(mount, "ledger", token="first-token-of-the-ledger")
    async with ledger() as upstream:
        auth = {"type": "bearer", "token": f"vault:{mount}/ledger#token"}
        gate = await started(gateway, openbao_raft.settings(), upstream.upstream(auth))
        assert await ready(gate) == (True, "")

        openbao_raft.seal()
        try:
            is_down = lambda: told(gate, "sealed or in maintenance")  # noqa: E731
            await eventually(is_down, 5.0)
            assert (await ready(gate))[0] is True
            assert await whoami(gate) == "Bearer first-token-of-the-ledger"
        finally:
            await asyncio.to_thread(openbao_raft.unseal)


async def told(gate: RunningGateway, text: str) -> bool:
    return text in (await ready(gate))[1]


async def test_without_vault_the_gateway_does_not_start(gateway: StartGateway) -> None:
    with pytest.raises(SecretUnavailable, match="start_degraded = true to start all the same"):
        await gateway(enable=["vault"], plugins={"vault": NOWHERE})


async def test_without_vault_it_starts_degraded_if_it_is_told_to(gateway: StartGateway) -> None:
    gate = await gateway(enable=["vault"], plugins={"vault": {**NOWHERE, "start_degraded": True}})

    is_ready, detail = await ready(gate)

    assert is_ready is True
    assert "there is no answer" in detail


async def test_whoever_declares_upstreams_by_api_may_not_name_secrets_unless_that_is_allowed(
    gateway: StartGateway, tmp_path: Path
) -> None:
    vault = {"vault": {**NOWHERE, "start_degraded": True}}
    strict = await gateway(enable=["vault"], plugins=vault)
    other = tmp_path / "other"
    lenient = await gateway(enable=["vault"], plugins=vault, data_dir=other, api_references=["vault"])
    auth = {"type": "bearer", "token": "vault:kv/of-somebody-else#token"}
    upstream = {"name": "mine", "kind": "http", "endpoints": ["https://thief.example.com/mcp"], "auth": auth}

    refused, allowed = [await gate.api("PUT", "/upstreams/mine", upstream) for gate in (strict, lenient)]

    assert (refused.status, allowed.status) == (400, 201)
    assert "list the scheme in gateway.api_references" in refused.content["detail"]


async def test_disabled_the_scheme_is_unknown_and_the_message_says_so(gateway: StartGateway) -> None:
    gate = await gateway()

    with pytest.raises(SecretUnavailable, match="secret scheme 'vault' is not known"):
        await gate.gateway.kernel.secrets.get("vault:kv/app#password")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"address": "vault.example.com"}, "must be an address such as https://"),
        ({"address": "http://vault.example.com:8200"}, "tokens travel readable"),
        ({"address": "https://me:secret@vault.example.com"}, "must not have a user or password"),
        ({"login": {"method": "token", "token": "vault:kv/app#token"}}, "needs the login first"),
        ({"login": {"method": "ldap"}}, "does not match any of the expected tags"),
        ({"login": {"method": "cert", "certificate": "c", "key": "k"}}, "login by certificate needs"),
        ({"stale_for": 7200}, "less than or equal to 3600"),
    ],
)
def test_a_setting_that_cannot_be_used_says_why(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        VaultSettings(**{**NOWHERE, **settings})


async def test_a_misconfigured_gateway_does_not_start(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.vault"):
        await gateway(enable=["vault"], plugins={"vault": {"adress": "https://vault"}})
