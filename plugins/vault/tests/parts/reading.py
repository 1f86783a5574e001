"""Short ways to ask a Vault."""

from __future__ import annotations

from toolway.plugin import SecretUnavailable
from toolway_vault.vault import Vault


async def value(vault: Vault, reference: str) -> str:
    """The value of the reference after `vault:`."""
    return (await vault.secret(reference)).value


async def complaint(vault: Vault, reference: str) -> str:
    """Why there is none; empty when there is one."""
    try:
        await vault.secret(reference)
    except SecretUnavailable as error:
        return error.message
    return ""
