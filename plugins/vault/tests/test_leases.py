"""Dynamic PostgreSQL users of a real OpenBao: renewed, replaced before they end, revoked when nobody wants them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from credentials import Users, dynamic_users
from openbao import OpenBao

from toolway_testing.polling import eventually
from toolway_testing.postgres import Postgres
from toolway_vault.vault import Vault

pytestmark = pytest.mark.server
MakeVault = Callable[..., Vault]


async def pair(vault: Vault, users: Users) -> tuple[str, str]:
    user, _, password = (await vault.secret(f"{users.path}#{{username}} {{password}}")).value.partition(" ")
    return user, password


async def test_user_and_password_of_one_path_belong_together(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    users, opened = dynamic_users(openbao, postgres_server, "60s", "120s"), vault(openbao.settings())

    user = (await opened.secret(f"{users.path}#username")).value
    both = await pair(opened, users)

    assert both[0] == user
    assert await users.logged_in(*both) == user
    assert users.names() >= {user}


async def test_a_lease_is_renewed_at_two_thirds_and_the_user_stays(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    users, opened = dynamic_users(openbao, postgres_server, "1s", "60s"), vault(openbao.settings())
    user, _ = await pair(opened, users)
    begun = time.monotonic()

    async def is_old() -> bool:
        assert (await pair(opened, users))[0] == user
        return time.monotonic() - begun > 2.5

    await eventually(is_old, 5.0)
    assert user in users.names()


async def test_credentials_are_good_at_every_moment_while_their_leases_end(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    users, opened = dynamic_users(openbao, postgres_server, "2s", "2s"), vault(openbao.settings())
    seen: set[str] = set()

    async def is_the_third() -> bool:
        both = await pair(opened, users)
        assert await users.logged_in(*both) == both[0]
        seen.add(both[0])
        return len(seen) >= 3

    await eventually(is_the_third, 10.0)
    await eventually(lambda: len(seen & users.names()) < 3, 5.0)


async def test_a_lease_that_somebody_revoked_is_replaced_when_it_would_be_renewed(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    users, opened = dynamic_users(openbao, postgres_server, "2s", "60s"), vault(openbao.settings())
    user, _ = await pair(opened, users)
    openbao.admin.sys.revoke_prefix(users.path)

    async def is_another() -> bool:
        return (await pair(opened, users))[0] != user

    await eventually(is_another, 3.0)


async def test_when_the_token_is_replaced_its_leases_are_too(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    """With a token Vault revokes every lease that was taken with it, however long that was for."""
    users = dynamic_users(openbao, postgres_server, "60s", "60s")
    openbao.admin.auth.token.create_or_update_role(
        "short", allowed_policies=[openbao.policy(users.path)], token_explicit_max_ttl=3
    )
    given: list[str] = []

    async def resolve(_: str) -> str:
        given.append(openbao.admin.auth.token.create(role_name="short", ttl="3s")["auth"]["client_token"])
        return given[-1]

    mount = users.path.partition("/")[0]
    opened = vault(openbao.settings(mounts={mount: "other"}), resolve)
    seen: set[str] = set()

    async def is_another() -> bool:
        both = await pair(opened, users)
        assert await users.logged_in(*both) == both[0]
        seen.add(both[0])
        return len(seen) > 1

    await eventually(is_another, 6.0)
    assert len(given) > 1


async def test_many_who_want_credentials_at_once_get_the_same(
    openbao: OpenBao, vault: MakeVault, postgres_server: Postgres
) -> None:
    users, opened = dynamic_users(openbao, postgres_server, "60s", "60s"), vault(openbao.settings())

    found = await asyncio.gather(*(pair(opened, users) for _ in range(50)))

    assert len(set(found)) == 1
