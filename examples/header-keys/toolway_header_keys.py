"""An authenticator in one file: clients send `X-API-Key`, the gateway knows only SHA-256 hashes of the keys.

[plugins]
enable = ["header-keys"]

[plugins.header-keys]
keys = "file:/etc/toolway/keys"    # lines `name:hash`; hash: printf %s KEY | sha256sum
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from hmac import compare_digest

from pydantic import Field

from toolway.hookspecs.auth import AuthContext, Authenticated, Authenticator, Credentials, Principal
from toolway.plugin import Clock, Kernel, Plugin, Seconds, SecretRef, Secrets, Settings, Unauthenticated, hookimpl


class HeaderKeysSettings(Settings):
    """Which keys are accepted."""

    keys: SecretRef = Field(description="Reference to the table: one line `name:sha256` per key.")
    remember: Seconds = Field(default=30.0, description="How long an accepted key is not checked again, in seconds.")


class HeaderKeysPlugin(Plugin[HeaderKeysSettings]):
    """Registers the authenticator."""

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        return [HeaderKeys(self.settings, kernel.secrets, kernel.clock)]


class HeaderKeys:
    """Knows who sends which key; the keys are 128 random bits or more, so a plain hash is enough."""

    name = "header-keys"

    def __init__(self, settings: HeaderKeysSettings, secrets: Secrets, clock: Clock) -> None:
        self._settings = settings
        self._secrets = secrets
        self._clock = clock

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """The service of that key; other kinds of credentials are left to other plugins."""
        if credentials.scheme != "x-api-key":
            return None
        table = await self._secrets.get(self._settings.keys)
        name = _owner(table, hashlib.sha256(credentials.value.encode()).hexdigest())
        if name is None:
            raise Unauthenticated("the key in X-API-Key is not known; ask the operator for one")
        credential = f"header-keys:{name}"
        principal = Principal(id=credential, kind="service", name=name, credential=credential)
        return Authenticated(principal, self._clock.monotonic() + self._settings.remember, (credential,))


def _owner(table: str, digest: str) -> str | None:
    """The name of the line with this hash; every line is compared, so that time tells nothing."""
    found = None
    for line in table.splitlines():
        name, _, known = line.strip().partition(":")
        if compare_digest(known.strip().lower().encode(), digest.encode()):
            found = name
    return found
