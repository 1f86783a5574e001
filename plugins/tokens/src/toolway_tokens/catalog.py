"""The catalog of tokens in the database: who has which, what was revoked, what was used up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, delete, update
from sqlmodel import col, func, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Database
from toolway_tokens.claims import LEEWAY
from toolway_tokens.models import TokenRow
from toolway_tokens.token import PREFIX, Token, row_of, token_of

PART = "tokens"
"""What administrative changes of tokens are counted under."""
BATCH = 500
"""Rows that are deleted in one transaction."""


class Use(msgspec.Struct, frozen=True):
    """When, from where and with what a token was used last."""

    at: float
    address: str
    client: str


class TokenCatalog:
    """Reads and changes rows. What must happen once, happens in one conditional UPDATE."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    async def find(self, jti: str) -> Token | None:
        """The token, whatever has become of it; raises StoreUnavailable."""
        async with self.database.read() as tx:
            row = await tx.session.get(TokenRow, jti)
            return None if row is None else token_of(row)

    async def is_accepted(self, tx: Transaction, jti: str) -> bool:
        """Whether a token lets anybody in, as this transaction sees it."""
        row = await tx.session.get(TokenRow, jti)
        return row is not None and token_of(row).is_accepted(self._clock.now())

    async def end_subjects(self, tx: Transaction, subjects: Collection[str]) -> int:
        """Revoke all tokens of these accounts for good, and what other plugins made with them; how many."""
        now = self._clock.now()
        live = col(TokenRow.revoked_at).is_(None) & (col(TokenRow.expires_at) > now - LEEWAY)
        where = col(TokenRow.subject).in_(subjects) & live
        in_order = select(TokenRow.jti).where(where).order_by(col(TokenRow.jti)).with_for_update()  # as in `record`
        ended = list(await tx.session.exec(in_order))
        await tx.session.exec(update(TokenRow).where(where).values(revoked_at=now))
        await tx.revoke(*(PREFIX + jti for jti in ended))
        return len(ended)

    async def after(self, jti: str, subject: str, count: int) -> Sequence[Token]:
        """The next tokens by jti, of one subject if it is not empty."""
        wanted = select(TokenRow).where(col(TokenRow.jti) > jti).order_by(col(TokenRow.jti)).limit(count)
        if subject:
            wanted = wanted.where(col(TokenRow.subject) == subject)
        async with self.database.read() as tx:
            return [token_of(row) for row in await tx.session.exec(wanted)]

    async def add(self, tx: Transaction, token: Token) -> None:
        """A new one."""
        tx.session.add(row_of(token))
        await tx.session.flush()

    async def revoke(self, jti: str, actor: str) -> None:
        """End a token, and those that were made with it; each node forgets them within a second."""
        async with self.database.change(PART, actor, "tokens.revoke", f"tokens/{jti}") as tx:
            ended, left = list[str](), [jti]
            while left:
                ended += left
                made = select(TokenRow.jti).where(col(TokenRow.parent).in_(left))
                left = [one for one in await tx.session.exec(made) if one not in ended]
            where = col(TokenRow.jti).in_(ended) & col(TokenRow.revoked_at).is_(None)
            await tx.session.exec(update(TokenRow).where(where).values(revoked_at=self._clock.now()))
            await tx.revoke(*(PREFIX + one for one in ended))
            tx.before, tx.after = {"revoked": False}, {"revoked": True, "with": ended[1:]}

    async def claim(self, jti: str) -> bool:
        """Use up a one-time token; True for one caller, on whichever node it is."""
        now = self._clock.now()
        return await self._moved(jti, col(TokenRow.used_at).is_(None), now, used_at=now)

    async def claim_again(self, jti: str, call: str) -> bool:
        """Go on with the call that asked for input; True for one caller."""
        return await self._moved(jti, col(TokenRow.waits_for) == call, self._clock.now(), waits_for=None)

    async def give_back(self, jti: str, call: str | None) -> None:
        """Nothing was sent: undo the claim, or that of the call which was to be continued."""
        values = {"used_at": None} if call is None else {"waits_for": call}
        await self._move(col(TokenRow.jti) == jti, values)

    async def wait(self, jti: str, call: str) -> None:
        """The call asked for input: the same one may come once more."""
        await self._move(col(TokenRow.jti) == jti, {"waits_for": call})

    async def end(self, jti: str) -> None:
        """Its use is over; from now on it lets nobody in."""
        await self._move(col(TokenRow.jti) == jti, {"ended_at": self._clock.now()})

    async def record(self, uses: Mapping[str, Use]) -> None:
        """Write down last uses; of two nodes the later one counts."""
        async with self.database.write() as tx:
            for jti, use in sorted(uses.items()):
                before = col(TokenRow.last_used_at)
                where = (col(TokenRow.jti) == jti) & (before.is_(None) | (before < use.at))
                values = {"last_used_at": use.at, "last_address": use.address[:64], "last_client": use.client[:200]}
                await tx.session.exec(update(TokenRow).where(where).values(**values))

    async def prune(self, before: float) -> int:
        """Remove up to `BATCH` tokens that ended before this time; how many."""
        ended = func.coalesce(col(TokenRow.revoked_at), col(TokenRow.ended_at), col(TokenRow.expires_at))
        async with self.database.write() as tx:
            over = list(await tx.session.exec(select(TokenRow.jti).where(ended < before).limit(BATCH)))
            if over:
                await tx.session.exec(delete(TokenRow).where(col(TokenRow.jti).in_(over)))
            return len(over)

    async def _moved(self, jti: str, condition: ColumnElement[bool], now: float, **values: float | None) -> bool:
        lives = (
            col(TokenRow.revoked_at).is_(None)
            & col(TokenRow.ended_at).is_(None)
            & (col(TokenRow.expires_at) > now - LEEWAY)
            & col(TokenRow.single_use)
        )
        return await self._move((col(TokenRow.jti) == jti) & lives & condition, values) == 1

    async def _move(self, where: ColumnElement[bool], values: Mapping[str, object]) -> int:
        async with self.database.write() as tx:
            done = await tx.session.exec(update(TokenRow).where(where).values(**values))
            return int(done.rowcount)
