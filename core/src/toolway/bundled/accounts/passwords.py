"""Local passwords: argon2id (RFC 9106), off the event loop and few at a time, because each takes 64 MiB."""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import update
from sqlmodel import col

from toolway.bundled.accounts.definitions import LOCAL
from toolway.bundled.accounts.models import PasswordRow
from toolway.hookspecs.auth import UNKNOWN, WRONG, Identity, Verdict
from toolway.hookspecs.system import Transaction
from toolway.plugin import Database, Overloaded

SHORTEST, LONGEST = 12, 128
AT_ONCE, WAITING = 2, 64

T = TypeVar("T")


class Passwords:
    """Hashes and compares; the parameters are those of RFC 9106, section 4, for little memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.nobody = self._random_hash()

    async def hash(self, password: str) -> str:
        """The hash with its salt and parameters."""
        return await self._run(lambda: self._hasher.hash(_prepared(password)))

    async def matches(self, known: str, password: str) -> bool:
        """Whether it is the password of this hash."""
        return await self._run(lambda: self._compare(known, password))

    def is_outdated(self, known: str) -> bool:
        """Whether the hash was made with other parameters than are in force."""
        return self._hasher.check_needs_rehash(known)

    def _compare(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, _prepared(password))
        except VerificationError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Overloaded("too many sign-ins at once; try again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.shield(asyncio.to_thread(work))
        finally:
            self._waiting -= 1

    def _random_hash(self) -> str:
        """A hash that no password has and that takes as long as any to compare with."""
        ours = self._hasher
        parameters = f"m={ours.memory_cost},t={ours.time_cost},p={ours.parallelism}"
        return f"$argon2id$v=19${parameters}${_random(ours.salt_len)}${_random(ours.hash_len)}"


class LocalVerifier:
    """Verifies the passwords that are kept here."""

    name = LOCAL

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    async def verify(self, username: str, password: str) -> Identity | Verdict:
        """See `PasswordVerifier`."""
        account = f"user:{username}"
        async with self._database.read() as tx:
            row = await tx.session.get(PasswordRow, account)
        matches = await self._passwords.matches(row.hash if row else self._passwords.nobody, password)
        if row is None:
            return UNKNOWN
        if not matches:
            return WRONG
        if self._passwords.is_outdated(row.hash):
            await self._renew(row, password)
        return Identity(LOCAL, account, username)

    async def _renew(self, row: PasswordRow, password: str) -> None:
        """Hash it with the parameters now in force, unless it was changed meanwhile."""
        renewed = await self._passwords.hash(password)
        mine = col(PasswordRow.account) == row.account, col(PasswordRow.hash) == row.hash
        async with self._database.write() as tx:
            await tx.session.exec(update(PasswordRow).where(*mine).values(hash=renewed))


async def set_password(tx: Transaction, account: str, hashed: str) -> None:
    """From now on this is the password."""
    await tx.session.merge(PasswordRow(account=account, hash=hashed))
    await tx.session.flush()


def _prepared(password: str) -> str:
    """What is typed the same way is the same (RFC 8265, section 4.2)."""
    return unicodedata.normalize("NFC", password)


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
