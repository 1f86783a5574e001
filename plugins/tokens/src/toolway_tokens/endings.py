"""What ends tokens from outside: their account is disabled or removed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from toolway.hookspecs.accounts import NO_ACCOUNTS, Accounts
from toolway.hookspecs.system import Change, Transaction
from toolway_tokens.catalog import TokenCatalog

KINDS = {"users": "user", "service-accounts": "service"}


class EndedAccounts:
    """Ends the tokens of an account in the transaction that disables it: it may be enabled again a moment later."""

    name = "tokens"

    def __init__(self, catalog: TokenCatalog) -> None:
        self._catalog = catalog

    async def record(self, change: Change) -> None:
        """See `ChangeRecorder`."""
        kind, _, name = change.subject.partition("/")
        if kind in KINDS and _is_enabled(change.before) and not _is_enabled(change.after):
            await self._catalog.end_subjects(change, {f"{KINDS[kind]}:{name}"})


class DisabledAccounts:
    """A part of the snapshot: the ids of accounts that are disabled, whose tokens end for good.

    That is for those that were disabled while the plugin was not enabled, and for tokens that a node made which had not
    heard of it yet.
    """

    name = "tokens-accounts"
    after: tuple[str, ...] = ("accounts",)

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.found: frozenset[str] = frozenset()

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> frozenset[str]:
        """See `SnapshotPart`."""
        accounts: Accounts = parts.get("accounts", NO_ACCOUNTS)
        disabled = frozenset(account.id for account in accounts.accounts.values() if not account.enabled)
        if disabled - self.found:
            self.changed.set()
        self.found = disabled
        return disabled


def _is_enabled(told: Any) -> bool:
    return told is not None and told.get("enabled", True) is True
