"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_tokens.authenticator import Names, RevokedTokens, TokenAuthenticator
from toolway_tokens.catalog import TokenCatalog
from toolway_tokens.endings import EndedAccounts
from toolway_tokens.issuing import Issuer
from toolway_tokens.key_store import KeyStore
from toolway_tokens.lifetimes import Lifetimes, PolicyEntity
from toolway_tokens.operations import TokenOperations
from toolway_tokens.single_use import SingleUse
from toolway_tokens.upkeep import Upkeep

if TYPE_CHECKING:
    from toolway_tokens.plugin import TokensSettings

NAMELESS = "toolway"
"""The issuer of a gateway that does not know its own address."""


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    authenticator: TokenAuthenticator
    revoked: RevokedTokens
    ended: EndedAccounts
    single_use: SingleUse
    policies: PolicyEntity
    operations: TokenOperations
    upkeep: Upkeep
    issuer: Issuer
    catalog: TokenCatalog
    keys: KeyStore

    @classmethod
    def of(cls, kernel: Kernel, settings: TokensSettings) -> Parts:
        """Everything, for this gateway."""
        catalog = TokenCatalog(kernel.database, kernel.clock)
        keys = KeyStore(
            kernel.database,
            kernel.seal,
            kernel.secrets,
            kernel.clock,
            algorithm=settings.algorithm,
            reference=settings.signing_key,
        )
        issuer_name = settings.issuer or kernel.public_url or NAMELESS
        names = Names(issuer_name, settings.audience or issuer_name)
        authenticator = TokenAuthenticator(kernel, catalog, keys, names)
        issuer = Issuer(kernel, catalog, keys, names, Lifetimes(settings.default_ttl, settings.max_ttl))
        upkeep = Upkeep(
            kernel,
            catalog,
            keys,
            authenticator,
            retention=settings.retention,
            record_interval=settings.record_interval,
        )
        operations = TokenOperations(kernel, catalog, keys, issuer)
        return cls(
            kernel,
            authenticator,
            RevokedTokens(authenticator),
            EndedAccounts(catalog),
            SingleUse(catalog),
            PolicyEntity(),
            operations,
            upkeep,
            issuer,
            catalog,
            keys,
        )
