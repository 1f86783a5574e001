"""One record of the trail: its line, and the hash that chains it to the one before."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

GENESIS = "0" * 64
"""What is before the first record."""
LINE = re.compile(rb'\{"hash":"([0-9a-f]{64})",(.*)\}', re.DOTALL)
JSON_MEMBERS = ("after", "before", "details")


class Entry(msgspec.Struct, frozen=True):
    """What happened, as it will be kept: nothing in it is secret. `before`, `after` and `details` are JSON."""

    at: str
    node: str
    actor: str
    credential: str
    address: str
    request_id: str
    action: str
    object: str
    outcome: str
    before: str = "null"
    after: str = "null"
    details: str = "null"


class Record(Entry, frozen=True, kw_only=True):
    """An entry in its place. `previous` is the hash of the record before."""

    seq: int
    previous: str
    hash: str = ""

    @classmethod
    def of(cls, entry: Entry, seq: int, previous: str) -> Record:
        """The entry in this place, with its hash."""
        record = cls(**msgspec.structs.asdict(entry), seq=seq, previous=previous)
        return msgspec.structs.replace(record, hash=record.digest())

    def canonical(self) -> bytes:
        """JSON of everything but the hash: members sorted, no spaces, UTF-8."""
        members: dict[str, Any] = msgspec.structs.asdict(self)
        del members["hash"]
        members |= {name: Raw(members[name].encode()) for name in JSON_MEMBERS}
        return msgspec.json.encode(members, order="sorted")

    def digest(self) -> str:
        """SHA-256 of `canonical`, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def line(self) -> bytes:
        """The line of an export: the hash first, then what it is the hash of."""
        return b'{"hash":"%b",%b\n' % (self.hash.encode(), self.canonical()[1:])

    def is_intact(self) -> bool:
        """Whether it is what was written: every column is a text, JSON where that is due, and the hash is right."""
        members = msgspec.structs.asdict(self)
        if type(members.pop("seq")) is not int or any(type(each) is not str for each in members.values()):
            return False
        try:
            for name in JSON_MEMBERS:
                msgspec.json.decode(members[name])
            return self.digest() == self.hash
        except (ValueError, RecursionError):
            return False


COLUMNS = Record.__struct_fields__
"""The columns of a row, in the order of the members."""


class Link(msgspec.Struct):
    """What of a line says where it belongs."""

    seq: int
    previous: str
    hash: str = ""
    is_intact: bool = True

    @classmethod
    def of(cls, record: Record) -> Link:
        """That of a row."""
        return cls(record.seq, record.previous, record.hash, record.is_intact())

    @classmethod
    def read(cls, line: bytes) -> Link | None:
        """That of a line of an export; None when it is no record."""
        match = LINE.fullmatch(line.strip())
        if match is None:
            return None
        canonical = b"{%b}" % match[2]
        try:
            link = msgspec.json.decode(canonical, type=cls)
        except (ValueError, RecursionError):
            return None
        link.hash = match[1].decode()
        link.is_intact = hashlib.sha256(canonical).hexdigest() == link.hash
        return link


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, always of the same length: it sorts as text."""
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
