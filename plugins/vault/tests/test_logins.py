"""Every way to log in, to a real OpenBao."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from certificates import Authority
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes import CLAIMS, kubernetes
from openbao import OpenBao, unique
from reading import complaint, value

from toolway.plugin import SecretUnavailable
from toolway_testing.polling import eventually
from toolway_vault.failures import Refused
from toolway_vault.vault import Vault

pytestmark = pytest.mark.server
MakeVault = Callable[..., Vault]


@pytest.fixture
def secret(openbao: OpenBao) -> tuple[str, str]:
    """A reference, and a policy that may read it."""
    mount = openbao.kv()
    openbao.put(mount, "app", password="s3cret")
    return f"{mount}/app#password", openbao.policy(f"{mount}/data/app")


async def test_a_token(openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]) -> None:
    assert await value(vault(openbao.settings()), secret[0]) == "s3cret"


async def test_approle(openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]) -> None:
    login = approle(openbao, secret[1])
    login["secret_id"] = f"literal:{secret_id(openbao, login)}"

    assert await value(vault(openbao.settings(login=login)), secret[0]) == "s3cret"


async def test_approle_with_a_wrapped_secret_id_opens_it_once_and_logs_in_with_it_again(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    login = approle(openbao, secret[1], token_ttl="1s", token_max_ttl="1s")
    login |= {"wrapped": True, "secret_id": f"literal:{secret_id(openbao, login, wrap_ttl='60s')}"}
    opened = vault(openbao.settings(login=login))
    first = await opened.tokens.current()

    async def is_another() -> bool:
        return (await opened.tokens.current()).value != first.value

    await eventually(is_another, 5.0)
    assert await value(opened, secret[0]) == "s3cret"


async def test_a_wrapped_token(openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]) -> None:
    wrapping = openbao.admin.auth.token.create(policies=[secret[1]], wrap_ttl="60s")["wrap_info"]["token"]
    login = {"method": "token", "token": f"literal:{wrapping}", "wrapped": True}

    assert await value(vault(openbao.settings(login=login)), secret[0]) == "s3cret"


async def test_a_wrapping_token_that_somebody_opened_before_is_an_alarm(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    wrapping = openbao.admin.auth.token.create(policies=[secret[1]], wrap_ttl="60s")["wrap_info"]["token"]
    openbao.admin.sys.unwrap(wrapping)
    opened = vault(openbao.settings(login={"method": "token", "token": f"literal:{wrapping}", "wrapped": True}))

    said = await complaint(opened, secret[0])

    assert "somebody opened it already; if that was not you, revoke what it wrapped" in said
    assert wrapping not in said


async def test_a_wrapping_token_of_something_else_is_not_opened(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    """Somebody who puts their own token in its place cannot make the gateway use their account."""
    wrapped = openbao.admin.sys.wrap({"client_token": "of a stranger"}, ttl=60)["wrap_info"]["token"]
    opened = vault(openbao.settings(login={"method": "token", "token": f"literal:{wrapped}", "wrapped": True}))

    assert "was made at 'sys/wrapping/wrap'" in await complaint(opened, secret[0])


async def test_jwt(openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]) -> None:
    key, mount = ec.generate_private_key(ec.SECP256R1()), openbao.method("jwt")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    openbao.admin.auth.jwt.configure(jwt_validation_pubkeys=[public.decode()], path=mount)
    role = {"role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": [secret[1]]}
    openbao.admin._adapter.post(f"/v1/auth/{mount}/role/gateway", json=role)
    login = {"method": "jwt", "mount": mount, "role": "gateway"}

    good = vault(openbao.settings(login={**login, "token": f"literal:{signed(key, 'vault')}"}))
    other = vault(openbao.settings(login={**login, "token": f"literal:{signed(key, 'somebody-else')}"}))

    assert await value(good, secret[0]) == "s3cret"
    assert "the login is refused: " in await complaint(other, secret[0])


async def test_kubernetes(openbao: OpenBao, vault: MakeVault, secret: tuple[str, str], tmp_path: Path) -> None:
    key, mount = ec.generate_private_key(ec.SECP256R1()), openbao.method("kubernetes")
    account = signed(key, "kubernetes", **CLAIMS)
    login = {"method": "kubernetes", "mount": mount, "role": "gateway"}
    with kubernetes(tmp_path, account) as (address, authority):
        configuration = {
            "kubernetes_host": address,
            "kubernetes_ca_cert": authority,
            "token_reviewer_jwt": account,
            "disable_iss_validation": True,
        }
        openbao.admin._adapter.post(f"/v1/auth/{mount}/config", json=configuration)
        role = {
            "bound_service_account_names": ["toolway"],
            "bound_service_account_namespaces": ["tools"],
            "token_policies": [secret[1]],
        }
        openbao.admin._adapter.post(f"/v1/auth/{mount}/role/gateway", json=role)

        good = vault(openbao.settings(login={**login, "token": f"literal:{account}"}))
        assert await value(good, secret[0]) == "s3cret"


async def test_a_certificate(openbao_tls: OpenBao, vault: MakeVault, tmp_path: Path) -> None:
    server, authority = openbao_tls, Authority("clients")
    kv = server.kv()
    server.put(kv, "app", password="s3cret")
    mount = server.method("cert")
    policies = [server.policy(f"{kv}/data/app")]
    role = {"certificate": authority.pem, "allowed_common_names": ["gateway"], "token_policies": policies}
    server.admin._adapter.post(f"/v1/auth/{mount}/certs/gateway", json=role)

    good, other = authority.write(tmp_path, "gateway", server=False), authority.write(tmp_path, "other", server=False)
    login = {"method": "cert", "mount": mount, "role": "gateway"}

    used = vault(server.settings(login={**login, "certificate": str(good[0]), "key": str(good[1])}))
    assert await value(used, f"{kv}/app#password") == "s3cret"
    refused = vault(server.settings(login={**login, "certificate": str(other[0]), "key": str(other[1])}))
    assert "the login is refused" in await complaint(refused, f"{kv}/app#password")


async def test_a_server_of_an_unknown_authority_is_not_talked_to(openbao_tls: OpenBao, vault: MakeVault) -> None:
    settings = {**openbao_tls.settings(), "ca": None}

    said = await complaint(vault(settings), "kv/app#password")

    assert "TLS fails (" in said
    assert "plugins.vault.ca" in said


async def test_a_token_is_renewed_as_long_as_it_can_be_and_then_replaced(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    login = approle(openbao, secret[1], token_ttl="1s", token_max_ttl="3s")
    login["secret_id"] = f"literal:{secret_id(openbao, login)}"
    opened = vault(openbao.settings(login=login))
    first, begun = (await opened.tokens.current()).value, time.monotonic()

    async def is_another() -> bool:
        assert await value(opened, secret[0]) == "s3cret"
        return (await opened.tokens.current()).value != first

    await eventually(is_another, 5.0)
    assert 1.5 < time.monotonic() - begun < 3.5


async def test_a_token_that_was_revoked_is_replaced_when_it_is_refused(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    login = approle(openbao, secret[1])
    login["secret_id"] = f"literal:{secret_id(openbao, login)}"
    opened = vault(openbao.settings(login=login))
    first = (await opened.tokens.current()).value
    openbao.admin.auth.token.revoke(first)

    assert await value(opened, secret[0]) == "s3cret"
    assert (await opened.tokens.current()).value != first


async def test_its_own_token_is_revoked_at_the_end_and_a_given_one_is_not(
    openbao: OpenBao, vault: MakeVault, secret: tuple[str, str]
) -> None:
    login = approle(openbao, secret[1])
    login["secret_id"] = f"literal:{secret_id(openbao, login)}"
    opened, given = vault(openbao.settings(login=login)), vault(openbao.settings())
    own = (await opened.tokens.current()).value
    await given.tokens.current()

    await opened.close()
    await given.close()

    assert openbao.admin.lookup_token(openbao.root)["data"]["id"] == openbao.root
    with pytest.raises(Exception, match=r"bad token|permission denied|not found"):
        openbao.admin.lookup_token(own)


async def test_a_refused_login_says_so_without_what_was_sent(openbao: OpenBao, vault: MakeVault) -> None:
    login = {**approle(openbao, "default"), "secret_id": "literal:not-the-secret-id"}
    opened = vault(openbao.settings(login=login))

    with pytest.raises(Refused) as refused:
        await opened.begin()

    assert "the login is refused" in str(refused.value)
    assert "not-the-secret-id" not in str(refused.value)


async def test_a_reference_of_the_login_that_cannot_be_resolved_is_named(openbao: OpenBao, vault: MakeVault) -> None:
    async def resolve(reference: str) -> str:
        raise SecretUnavailable(f"environment variable {reference.removeprefix('env:')} is not set")

    opened = vault(openbao.settings(login={"method": "token", "token": "env:VAULT_TOKEN"}), resolve)

    assert "environment variable VAULT_TOKEN is not set" in await complaint(opened, "kv/app#password")


def approle(openbao: OpenBao, policy: str, **limits: str) -> dict[str, Any]:
    """The login with a new role."""
    mount, role = openbao.method("approle"), unique("role")
    use = openbao.admin.auth.approle
    use.create_or_update_approle(role, token_policies=[policy], mount_point=mount, **limits)
    role_id = use.read_role_id(role, mount_point=mount)["data"]["role_id"]
    return {"method": "approle", "mount": mount, "role_id": f"literal:{role_id}"}


def secret_id(openbao: OpenBao, login: dict[str, Any], **wrap: str) -> str:
    (role,) = openbao.admin.auth.approle.list_roles(login["mount"])["data"]["keys"]
    made = openbao.admin.auth.approle.generate_secret_id(role, mount_point=login["mount"], **wrap)
    return str(made["wrap_info"]["token"] if wrap else made["data"]["secret_id"])


def signed(key: ec.EllipticCurvePrivateKey, audience: str, **more: Any) -> str:
    now = int(time.time())
    claims = {"sub": "gateway", "aud": [audience], "iat": now, "nbf": now, "exp": now + 300, **more}
    return jwt.encode(claims, key, algorithm="ES256")
