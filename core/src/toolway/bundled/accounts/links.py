"""Which account somebody is whom a provider verified: linked by provider and subject, never by an e-mail address."""

from __future__ import annotations

from sqlmodel import select

from toolway.bundled.accounts.definitions import LOCAL
from toolway.bundled.accounts.models import AccountRow, LinkRow
from toolway.hookspecs.auth import Identity
from toolway.hookspecs.system import Transaction


async def account_of(tx: Transaction, identity: Identity) -> AccountRow | None:
    """The enabled account of this identity; None when it has none.

    The first time, it is linked to the account of the same name if that account names this provider and nobody else is
    linked to it yet. From then on only the subject counts, whatever the provider calls them.
    """
    found = await _linked(tx, identity)
    if found is None or not found.enabled or found.provider != identity.provider:
        return None
    return found


async def _linked(tx: Transaction, identity: Identity) -> AccountRow | None:
    if identity.provider == LOCAL:
        return await tx.session.get(AccountRow, identity.subject)
    known = select(LinkRow).where(LinkRow.provider == identity.provider, LinkRow.subject == identity.subject)
    link = (await tx.session.exec(known)).first()
    if link is not None:
        return await tx.session.get(AccountRow, link.account)
    return await _link(tx, identity)


async def _link(tx: Transaction, identity: Identity) -> AccountRow | None:
    account = await tx.session.get(AccountRow, f"user:{identity.username}")
    if account is None or account.provider != identity.provider:
        return None
    if await tx.session.get(LinkRow, (account.id, identity.provider)) is not None:
        return None
    tx.session.add(LinkRow(account=account.id, provider=identity.provider, subject=identity.subject))
    await tx.session.flush()
    return account
