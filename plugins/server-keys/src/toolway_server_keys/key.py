"""A key as the gateway knows it: what it opens, whose it is, and until when which of its secrets is accepted."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, Literal

import msgspec

from toolway.hookspecs.auth import Resource
from toolway.hookspecs.permissions import Limits
from toolway_server_keys.models import KeyRow
from toolway_server_keys.notation import digest

State = Literal["active", "expired", "revoked"]

NO_DIGEST = bytes(32)
"""Where there is no previous secret: no secret has this SHA-256."""
GATEWAY = ""
"""The owner of keys that belong to nobody but the gateway."""


class Secret(msgspec.Struct, frozen=True):
    """One of the two secrets of a key: which one since the key was made, and when it ends (Unix seconds)."""

    generation: int
    until: float


class Key(msgspec.Struct, frozen=True):
    """See `KeyRow`; lists are lists here."""

    id: str
    owner: str
    maker: str
    servers: tuple[str, ...]
    digest: bytes
    expires_at: float
    lifetime: int
    created_at: float
    description: str = ""
    items: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    generation: int = 1
    previous: bytes = NO_DIGEST
    previous_until: float = 0.0
    rotated_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    last_address: str = ""
    last_client: str = ""
    made_with: str = ""
    present_with: str = ""
    previous_with: str = ""
    ends_at: float = 0.0

    @property
    def principal(self) -> str:
        """The id of the principal that uses it, which is also what revokes it with all its secrets."""
        return f"key:{self.id}"

    @property
    def limits(self) -> Limits:
        """Its servers, and what else it is limited to."""
        return Limits(self.scopes, self.servers, self.items)

    @property
    def resource(self) -> Resource:
        """What a decision about the key itself is about."""
        return resource(self.id, self.owner)

    @property
    def trail(self) -> dict[str, Any]:
        """What the trail of changes says of it: nothing of its secrets but how many there were, and when they end."""
        return {name: getattr(self, name) for name in _TRAIL}

    def revoke_key(self, generation: int) -> str:
        """What drops one of its secrets only."""
        return f"{self.principal}:{generation}"

    def match(self, secret: str) -> Secret | None:
        """Which of its secrets this is; takes the same time for every one."""
        presented = digest(secret)
        is_present = compare_digest(self.digest, presented)
        is_previous = compare_digest(self.previous, presented)
        if is_present:
            return Secret(self.generation, self.expires_at)
        return Secret(self.generation - 1, min(self.previous_until, self.expires_at)) if is_previous else None

    def credentials(self, generation: int) -> frozenset[str]:
        """The credentials with which one of its secrets ends."""
        gave = self.present_with if generation == self.generation else self.previous_with
        return frozenset({self.made_with, gave} - {""})

    def ended(self, credentials: frozenset[str], now: float) -> Key:
        """What is left at `now` when these credentials are over; the key itself when it has to do with none of them."""
        if self.revoked_at is None and not credentials.isdisjoint(self.credentials(self.generation)):
            return msgspec.structs.replace(self, revoked_at=now)
        if self.previous_with and self.previous_with in credentials:
            return msgspec.structs.replace(self, previous=NO_DIGEST, previous_until=0.0, previous_with="")
        return self

    def without(self, server: str, now: float) -> Key:
        """What is left when the server is gone; without any server, nothing is."""
        left = tuple(name for name in self.servers if name != server)
        if left:
            return msgspec.structs.replace(self, servers=left)
        return msgspec.structs.replace(self, revoked_at=now)

    def state(self, now: float) -> State:
        """What has become of it at `now` (Unix seconds)."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"


def resource(key_id: str, owner: str) -> Resource:
    """A key is a matter of its owner: an account, or the members of a team; the gateway's own are for everybody."""
    if owner == GATEWAY:
        return Resource(key_id)
    return Resource(key_id, owner=owner, visibility="team" if owner.startswith("team:") else "private")


_LISTS = ("servers", "items", "scopes", "networks")
_TRAIL = ("description", "owner", *_LISTS, "generation", "expires_at", "previous_until", "revoked_at")
_PLAIN = tuple(name for name in Key.__struct_fields__ if name not in _LISTS)


def key_of(row: KeyRow) -> Key:
    """What is stored."""
    lists = {name: tuple(msgspec.json.decode(getattr(row, name), type=list[str])) for name in _LISTS}
    return msgspec.convert({**{name: getattr(row, name) for name in _PLAIN}, **lists}, Key)


def row_of(key: Key) -> KeyRow:
    """What to store."""
    lists = {name: msgspec.json.encode(getattr(key, name)).decode() for name in _LISTS}
    return KeyRow.model_validate({**{name: getattr(key, name) for name in _PLAIN}, **lists})
