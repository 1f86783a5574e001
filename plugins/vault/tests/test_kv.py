"""Values of KV mounts, read from a real OpenBao."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from openbao import OpenBao, unique
from reading import complaint, value

from toolway_testing.polling import eventually
from toolway_vault.vault import Vault

pytestmark = pytest.mark.server
MakeVault = Callable[..., Vault]


async def test_a_field_of_either_version_of_kv_is_found_without_saying_which_it_is(
    openbao: OpenBao, vault: MakeVault
) -> None:
    first, second = openbao.kv(1), openbao.kv(2)
    openbao.admin.secrets.kv.v1.create_or_update_secret("app/db", {"password": "of version 1"}, mount_point=first)
    openbao.put(second, "app/db", password="of version 2")
    opened = vault(openbao.settings())

    assert await value(opened, f"{first}/app/db#password") == "of version 1"
    assert await value(opened, f"{second}/app/db#password") == "of version 2"
    assert (await opened.secret(f"{second}/app/db#password")).version == "1"


async def test_a_mount_that_is_configured_needs_no_permission_to_look(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "app", password="s3cret")
    token = openbao.admin.auth.token.create(policies=[openbao.policy(f"{mount}/data/app")])["auth"]["client_token"]
    login = {"method": "token", "token": f"literal:{token}"}
    settings = openbao.settings(login=login, mounts={mount: "kv-v2"})

    assert await value(vault(settings), f"{mount}/app#password") == "s3cret"


async def test_several_fields_make_one_value(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "db", user="app", password="a/b c", port=5432)
    reference = f"{mount}/db#postgresql+psycopg://{{user}}:{{password:url}}@db:{{port}}/toolway"

    assert await value(vault(openbao.settings()), reference) == "postgresql+psycopg://app:a%2Fb%20c@db:5432/toolway"


async def test_a_rotated_value_is_noticed_by_its_version(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "app", password="first")
    opened, reference = vault(openbao.settings()), f"{mount}/app#password"
    assert await value(opened, reference) == "first"

    openbao.put(mount, "app", password="second")

    async def is_new() -> bool:
        return await value(opened, reference) == "second"

    await eventually(is_new, 3.0)
    assert (await opened.secret(reference)).version == "2"


async def test_a_rotated_value_of_version_1_is_noticed_too(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv(1)
    write = openbao.admin.secrets.kv.v1.create_or_update_secret
    write("app", {"password": "first"}, mount_point=mount)
    opened, reference = vault(openbao.settings()), f"{mount}/app#password"
    assert (await opened.secret(reference)).version == "1"

    write("app", {"password": "second"}, mount_point=mount)

    async def is_new() -> bool:
        return (await opened.secret(reference)).version == "2"

    await eventually(is_new, 3.0)
    assert await value(opened, reference) == "second"


async def test_a_deleted_value_is_not_used_any_more(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "app", password="first")
    opened, reference = vault(openbao.settings()), f"{mount}/app#password"
    assert await value(opened, reference) == "first"

    openbao.admin.secrets.kv.v2.delete_latest_version_of_secret("app", mount_point=mount)

    async def is_gone() -> bool:
        return "was deleted" in await complaint(opened, reference)

    await eventually(is_gone, 3.0)


async def test_a_namespace_is_where_everything_is(openbao: OpenBao, vault: MakeVault) -> None:
    name = unique("team")
    openbao.admin._adapter.post(f"/v1/sys/namespaces/{name}", json={})
    inside = openbao.admin
    inside._adapter.namespace = name
    inside.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
    inside.secrets.kv.v1.create_or_update_secret("app", {"password": "of the team"}, mount_point="kv")

    opened = vault(openbao.settings(namespace=name))

    assert await value(opened, "kv/app#password") == "of the team"
    assert await opened.state() == ""


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("kv", "names no path and field"),
        ("kv/app", "names no path and field"),
        ("kv/../sys/raw#x", "malformed"),
        ("kv//app#x", "malformed"),
        ("kv/app?version=1#x", "malformed"),
        ("kv/%2e%2e/sys#x", "malformed"),
        ("nowhere/app#x", "no such mount"),
    ],
)
async def test_a_reference_that_means_nothing_says_why(
    openbao: OpenBao, vault: MakeVault, reference: str, expected: str
) -> None:
    assert expected in await complaint(vault(openbao.settings()), reference)


async def test_complaints_name_path_and_field_and_no_value(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "app", password="hunter2hunter2")
    opened = vault(openbao.settings())

    missing = await complaint(opened, f"{mount}/app#token")
    absent = await complaint(opened, f"{mount}/other#token")

    assert f"vault:{mount}/app has no field 'token'" in missing
    assert f"vault:{mount}/other#token is not available: there is no such secret" in absent
    assert "hunter2" not in missing + absent + repr(await opened.secret(f"{mount}/app#password"))


async def test_a_path_that_is_not_allowed_is_not_asked_for(openbao: OpenBao, vault: MakeVault) -> None:
    mount = openbao.kv()
    openbao.put(mount, "theirs", password="s3cret")

    said = await complaint(vault(openbao.settings(paths=[f"{mount}/ours/*"])), f"{mount}/theirs#password")

    assert "is not of plugins.vault.paths" in said
