"""Settings and the plugin class: everything of it works together on one catalog and one set of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from toolway.hookspecs.api import Operation
from toolway.hookspecs.auth import Authenticator
from toolway.hookspecs.routing import RequestMiddleware
from toolway.hookspecs.system import ChangeRecorder, Entity, MigrationSource, Service, SnapshotPart
from toolway.plugin import Kernel, Plugin, Seconds, SecretRef, Settings, hookimpl
from toolway_tokens.durations import DAY, Duration

if TYPE_CHECKING:
    from toolway_tokens.parts import Parts


class TokensSettings(Settings):
    """Who signs how, and how long tokens live."""

    algorithm: Literal["ES256", "RS256", "EdDSA"] = Field(
        "ES256", description="Of the signing key that the gateway makes; `EdDSA` is Ed25519."
    )
    signing_key: SecretRef | None = Field(
        None,
        description="Reference to a private key, PEM or JWK, in place of the one that the gateway makes and keeps "
        "in the database, encrypted with the root key.",
    )
    issuer: str = Field("", max_length=256, description='The claim `iss`; by default public_url, or else "toolway".')
    audience: str = Field("", max_length=256, description="The claim `aud`; by default the issuer.")
    default_ttl: Duration = Field(30 * DAY, description="Lifetime of tokens that ask for none.")
    max_ttl: Duration = Field(365 * DAY, description="Longest lifetime.")
    retention: Duration = Field(30 * DAY, description="How long tokens stay in the catalog after their end.")
    record_interval: Seconds = Field(60.0, gt=0, description="Between writing down last uses, in seconds.")

    @model_validator(mode="after")
    def _default_is_possible(self) -> TokensSettings:
        if self.default_ttl > self.max_ttl:
            raise ValueError("default_ttl is longer than max_ttl; make it shorter")
        return self


class TokensPlugin(Plugin[TokensSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of tokens, keys and policies."""
        from toolway_tokens.models import Table

        return [MigrationSource("tokens", "toolway_tokens:migrations", Table.metadata)]

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """Bearer tokens of ours."""
        return [self._made(kernel).authenticator]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Claims one-time tokens."""
        return [self._made(kernel).single_use]

    @hookimpl
    def toolway_entities(self, kernel: Kernel) -> Iterable[Entity]:
        """`token-policies`."""
        return [self._made(kernel).policies]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/tokens`, `/api/v1/token-keys` and the public keys."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """Hear of disabled accounts, whose tokens end, and of revocations."""
        parts = self._made(kernel)
        return [parts.upkeep.disabled, parts.revoked]

    @hookimpl
    def toolway_change_recorders(self, kernel: Kernel) -> Iterable[ChangeRecorder]:
        """Hears of accounts that are disabled or removed."""
        return [self._made(kernel).ended]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """The first key, last uses, and removing what is over."""
        return [self._made(kernel).upkeep]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_tokens.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
