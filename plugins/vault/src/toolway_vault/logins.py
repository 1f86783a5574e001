"""How the gateway gets a token: one function per method, and what comes out of a response-wrapping token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from toolway_vault.connection import Connection
from toolway_vault.failures import Denied, Refused
from toolway_vault.sayings import Unsaid
from toolway_vault.settings import AppRoleLogin, CertLogin, JwtLogin, KubernetesLogin, Login, TokenLogin

Resolve = Callable[[str], Awaitable[str]]


class Token(msgspec.Struct, frozen=True):
    """A token; `seconds` is how long it lives from now on, 0 for ever. An owned one is the gateway's to revoke."""

    value: str
    seconds: float
    renewable: bool
    owned: bool = True

    def __repr__(self) -> str:
        return f"Token(seconds={self.seconds})"


class LoggingIn:
    """Logs in as often as it is needed; what was wrapped is remembered, because it opens once."""

    def __init__(self, connection: Connection, login: Login, unsaid: Unsaid) -> None:
        self._connection = connection
        self._login = login
        self._opened: dict[str, str] = {}
        self._unsaid = unsaid

    async def token(self, resolve: Resolve) -> Token:
        """A new token, or what is known of the given one.

        Raises:
            VaultDown: Vault does not answer.
            Refused: it does not accept the login.
            SecretUnavailable: a reference of the login cannot be resolved.
        """
        token = await self._token(resolve)
        self._unsaid.add(token.value, *self._opened, *self._opened.values())
        return token

    async def _token(self, resolve: Resolve) -> Token:
        match self._login:
            case TokenLogin() as login:
                return await self._given(login, resolve)
            case AppRoleLogin() as login:
                return await self._post(login.mount, await self._approle(login, resolve))
            case KubernetesLogin() | JwtLogin() as login:
                return await self._post(login.mount, {"role": login.role, "jwt": await resolve(login.token)})
            case CertLogin() as login:
                return await self._post(login.mount, {"name": login.role} if login.role else {})

    async def _post(self, mount: str, body: Mapping[str, Any]) -> Token:
        answer = await self._connection.request("post", f"auth/{mount}/login", body=body)
        return token_of(answer)

    async def _given(self, login: TokenLogin, resolve: Resolve) -> Token:
        value = await resolve(login.token)
        if login.wrapped:
            value = await self._unwrapped(value, is_token)
        found = await self._connection.request("get", "auth/token/lookup-self", value)
        data = found.get("data", {})
        return Token(value, float(data.get("ttl", 0)), bool(data.get("renewable")), owned=False)

    async def _approle(self, login: AppRoleLogin, resolve: Resolve) -> dict[str, str]:
        body = {"role_id": await resolve(login.role_id)}
        if login.secret_id is not None:
            value = await resolve(login.secret_id)
            prefix = f"auth/{login.mount}/role/"
            body["secret_id"] = await self._unwrapped(value, is_secret_id(prefix)) if login.wrapped else value
        return body

    async def _unwrapped(self, wrapping: str, expected: Callable[[str], bool]) -> str:
        """What the token wraps; only if Vault says that it was made where such a thing is made."""
        if wrapping not in self._opened:
            try:
                where = await self._connection.request("post", "sys/wrapping/lookup", body={"token": wrapping})
                path = str(where.get("data", {}).get("creation_path", ""))
                if not expected(path):
                    raise Refused(f"the wrapping token was made at {path!r}, which is not what the login needs")
                self._opened = {
                    wrapping: opened(await self._connection.request("post", "sys/wrapping/unwrap", wrapping))
                }
            except (Denied, Refused) as error:
                raise Refused(
                    f"the response-wrapping token cannot be opened ({error}): it has expired, or somebody opened it "
                    "already; if that was not you, revoke what it wrapped; then make a new one"
                ) from None
        return self._opened[wrapping]


def token_of(answer: Mapping[str, Any]) -> Token:
    """The token of a login's or renewal's answer. Raises Refused when there is none."""
    auth = answer.get("auth") or {}
    if not isinstance(auth.get("client_token"), str):
        raise Refused("its answer to the login has no token (does the login need a second factor?)")
    return Token(auth["client_token"], float(auth.get("lease_duration", 0)), bool(auth.get("renewable")))


def opened(answer: Mapping[str, Any]) -> str:
    """The token or secret id of an answer that was wrapped."""
    value = (answer.get("auth") or {}).get("client_token") or (answer.get("data") or {}).get("secret_id")
    if not isinstance(value, str):
        raise Refused("it wraps neither a token nor a secret id")
    return value


def is_token(path: str) -> bool:
    """Whether tokens are made there."""
    return path.startswith("auth/token/create")


def is_secret_id(prefix: str) -> Callable[[str], bool]:
    """Whether secret ids are made there."""
    return lambda path: path.startswith(prefix) and path.endswith("/secret-id")
