"""Both ends of the chain, sealed: without the key nobody can move them unnoticed."""

from __future__ import annotations

import hashlib
import hmac
import os

import msgspec
from sqlalchemy import delete, insert
from sqlmodel import col, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Seal
from toolway_audit.models import MarkRow
from toolway_audit.record import GENESIS

HEAD, ANCHOR, KEY = "head", "anchor", "key"
PURPOSE = "audit.key"


class Mark(msgspec.Struct, frozen=True):
    """A place in the chain: the number and the hash of a record."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> Mark:
        """The reverse of `str`; raises ValueError with what is wrong."""
        seq, _, digest = text.partition(":")
        if not seq.isascii() or not seq.isdigit() or len(seq) > 18 or len(digest) != len(GENESIS):
            raise ValueError(f"{text[:100]!r} is no place in the trail; write number:hash, as verify prints it")
        return cls(int(seq), digest)


BEGINNING = Mark()


class Marks:
    """Reads and sets them. Their key is made once for each database, and sealed with the gateway's ring of keys.

    A key of its own, because nodes learn of new keys of the ring only when they start.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def key(self, tx: Transaction) -> bytes | None:
        """The key; None when there is none, or none that this gateway made."""
        sealed = (await tx.session.exec(select(MarkRow.sealed).where(col(MarkRow.name) == KEY))).first()
        return self._seal.open(PURPOSE, sealed) if isinstance(sealed, str) and sealed.isascii() else None

    async def make_key(self, tx: Transaction) -> bytes:
        """A new one."""
        key = os.urandom(32)
        await self._put(tx, KEY, BEGINNING, self._seal.seal(PURPOSE, key))
        return key

    async def get(self, tx: Transaction, name: str, key: bytes | None) -> tuple[Mark | None, bool]:
        """A mark, and whether its seal is right; None when it is not there."""
        columns = (col(MarkRow.seq), col(MarkRow.hash), col(MarkRow.sealed))
        found = (await tx.session.exec(select(*columns).where(col(MarkRow.name) == name))).first()
        if found is None:
            return None, True
        if type(found[0]) is not int or type(found[1]) is not str:  # SQLite keeps anything in any column
            return BEGINNING, False
        mark = Mark(found[0], found[1])
        return mark, key is not None and hmac.compare_digest(_sealed(key, name, mark).encode(), str(found[2]).encode())

    async def set(self, tx: Transaction, name: str, mark: Mark, key: bytes) -> None:
        """Move one."""
        await self._put(tx, name, mark, _sealed(key, name, mark))

    async def _put(self, tx: Transaction, name: str, mark: Mark, sealed: str) -> None:
        await tx.session.exec(delete(MarkRow).where(col(MarkRow.name) == name))
        await tx.session.exec(insert(MarkRow).values(name=name, seq=mark.seq, hash=mark.hash, sealed=sealed))


def _sealed(key: bytes, name: str, mark: Mark) -> str:
    return hmac.new(key, f"{name}:{mark}".encode(), hashlib.sha256).hexdigest()
