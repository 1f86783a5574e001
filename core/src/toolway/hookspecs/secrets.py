"""Secrets by reference, and how the gateway authenticates itself to upstreams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from pydantic import BaseModel

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.markers import hookspec

if TYPE_CHECKING:
    from toolway.hookspecs.routing import Upstream
    from toolway.plugin import Kernel


class Secret(msgspec.Struct, frozen=True):
    """A resolved secret. `refresh_at` and `expires_at` are monotonic seconds; None means never."""

    value: str
    version: str = ""
    refresh_at: float | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"Secret(version={self.version!r})"


class SecretScheme(Protocol):
    """Resolves references of one scheme: everything before the first colon of `env:NAME`."""

    scheme: str

    async def resolve(self, reference: str) -> Secret:
        """Resolve the part after the colon.

        Raises:
            SecretUnavailable: the reference is malformed, unknown or its source does not answer.
        """


class Challenge(msgspec.Struct, frozen=True):
    """Why the upstream refused: HTTP status and its `WWW-Authenticate` header, empty when absent."""

    status: int
    header: str


SettingsModel = type[BaseModel]


class UpstreamAuth(Protocol):
    """Makes the headers with which the gateway authenticates itself to an upstream."""

    type: str
    settings: SettingsModel
    per: Literal["gateway", "principal"]

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """Headers for one request; `upstream.auth` is an instance of `settings`.

        `principal` is `GATEWAY` when the gateway itself asks what the upstream offers.
        `challenge` is set once, after the upstream refused the previous headers.

        Raises:
            SecretUnavailable: a referenced secret cannot be resolved.
        """


@hookspec
def toolway_secret_schemes(kernel: Kernel) -> Iterable[SecretScheme]:
    """Offer schemes of secret references.

    Called: once, when the gateway is built.
    Used: whenever a `SecretRef` setting is read; values are kept in memory until `refresh_at`.
    On error: what needs the secret fails with `secret_unavailable`; there is no fallback.
    Since: 1.0
    """


@hookspec
def toolway_upstream_auths(kernel: Kernel) -> Iterable[UpstreamAuth]:
    """Offer ways to authenticate to upstreams, chosen by `auth.type`.

    Called: once, when the gateway is built.
    Used: for every attempt on an upstream that names this type.
    On error: the attempt fails before anything is sent.
    Since: 1.0
    """
