"""The built-in ways of the gateway to authenticate itself to an upstream."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping
from typing import Literal, cast

from pydantic import Field

from toolway.bundled.upstreams.oauth import Client, ClientCredentials
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.definitions import Definition, SecretRef
from toolway.hookspecs.routing import Upstream
from toolway.hookspecs.secrets import Challenge, SettingsModel
from toolway.plugin import Clock, Secrets
from toolway.plugin.http import OutgoingHttp, check_url


class HeaderAuth(Definition):
    """A static header."""

    name: str = Field(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$", description="Name of the header.")
    value: SecretRef = Field(description="Its value.")


class BearerAuth(Definition):
    """A bearer token (RFC 6750)."""

    token: SecretRef = Field(description="The token.")


class BasicAuth(Definition):
    """User name and password (RFC 7617)."""

    username: str = Field(description="The user name.")
    password: SecretRef = Field(description="The password.")


class ClientCredentialsAuth(Definition):
    """A token for the gateway itself from an authorization server (RFC 6749 section 4.4)."""

    token_url: str = Field(description="The token endpoint.")
    client_id: str = Field(description="The gateway's client id there.")
    client_secret: SecretRef = Field(description="Its secret.")
    scope: str = Field("", description="Scopes to ask for, separated by spaces.")
    resource: str = Field("", description="What the token is for (RFC 8707); default: the URL of each endpoint.")
    method: Literal["basic", "post"] = Field("basic", description="How the secret is sent (RFC 6749 section 2.3.1).")


class _Gateway:
    per: Literal["gateway", "principal"] = "gateway"

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets


class HeaderProvider(_Gateway):
    """`auth = { type = "header", name = "X-Api-Key", value = "env:KEY" }`."""

    type = "header"
    settings: SettingsModel = HeaderAuth

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """The one header."""
        auth = cast(HeaderAuth, upstream.auth)
        return {auth.name: await self._secrets.get(auth.value)}


class BearerProvider(_Gateway):
    """`auth = { type = "bearer", token = "env:TOKEN" }`."""

    type = "bearer"
    settings: SettingsModel = BearerAuth

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """The Authorization header."""
        return {"authorization": f"Bearer {await self._secrets.get(cast(BearerAuth, upstream.auth).token)}"}


class BasicProvider(_Gateway):
    """`auth = { type = "basic", username = "u", password = "env:PASSWORD" }`."""

    type = "basic"
    settings: SettingsModel = BasicAuth

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """The Authorization header."""
        auth = cast(BasicAuth, upstream.auth)
        pair = f"{auth.username}:{await self._secrets.get(auth.password)}"
        credential = base64.b64encode(pair.encode()).decode()
        self._secrets.know(credential)
        return {"authorization": f"Basic {credential}"}


class ClientCredentialsProvider:
    """`auth = { type = "client-credentials", token_url = …, client_id = …, client_secret = "env:SECRET" }`."""

    type = "client-credentials"
    settings: SettingsModel = ClientCredentialsAuth
    per: Literal["gateway", "principal"] = "gateway"

    def __init__(self, outgoing: OutgoingHttp, secrets: Secrets, clock: Clock) -> None:
        self._outgoing = outgoing
        self._secrets = secrets
        self._clock = clock
        self._sources: dict[Hashable, ClientCredentials] = {}

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """A bearer token; fetched anew when the upstream refused the last one."""
        auth, private = cast(ClientCredentialsAuth, upstream.auth), upstream.settings.allow_private
        key = auth, private, upstream.endpoints
        source = self._sources.get(key)
        if source is None:
            resources = (auth.resource,) if auth.resource else tuple(canonical(each.id) for each in upstream.endpoints)
            client = Client(auth.token_url, auth.client_id, auth.scope, resources, auth.method, private)
            source = self._sources[key] = ClientCredentials(
                self._outgoing, client, lambda: self._secrets.get(auth.client_secret), self._clock.monotonic
            )
        token = await source.token(challenged=challenge is not None)
        self._secrets.know(token)
        return {"authorization": f"Bearer {token}"}


def canonical(url: str) -> str:
    """The canonical URI of an MCP server (MCP 2026-07-28, authorization): host in lower case, without a last slash."""
    return str(check_url(url)).rstrip("/")
