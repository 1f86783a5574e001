"""A token as the catalog knows it, without its value."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from toolway.hookspecs.permissions import Limits
from toolway_tokens.claims import LEEWAY
from toolway_tokens.models import TokenRow

State = Literal["active", "used", "expired", "revoked"]

PREFIX = "token:"
"""Of the names of credentials, and of the keys that revoke them."""
UNFINISHED_SECONDS = 3600.0
"""So long after it was claimed a one-time token may still answer what its call asks."""


class Token(msgspec.Struct, frozen=True):
    """See `TokenRow`; lists are lists here."""

    jti: str
    kid: str
    subject: str
    maker: str
    created_at: float
    expires_at: float
    description: str = ""
    parent: str = ""
    scopes: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    single_use: bool = False
    revoked_at: float | None = None
    used_at: float | None = None
    ended_at: float | None = None
    last_used_at: float | None = None
    last_address: str = ""
    last_client: str = ""

    @property
    def credential(self) -> str:
        """The name of the credential, which is also the key that revokes it."""
        return PREFIX + self.jti

    @property
    def limits(self) -> Limits | None:
        """What the token is limited to."""
        limited = self.scopes or self.servers or self.items
        return Limits(self.scopes, self.servers, self.items) if limited else None

    def told(self) -> dict[str, Any]:
        """What the trail of changes says of it: what it is good for, in JSON."""
        members = ("subject", "maker", "description", "expires_at", "single_use", *_LISTS)
        return {name: msgspec.to_builtins(getattr(self, name)) for name in members}

    def state(self, now: float) -> State:
        """What has become of it at `now` (Unix seconds)."""
        if self.revoked_at is not None:
            return "revoked"
        if self.used_at is not None:
            return "used"
        return "active" if now < self.expires_at + LEEWAY else "expired"

    def is_accepted(self, now: float) -> bool:
        """Whether it lets anybody in; a one-time token does until its use is over."""
        if self.revoked_at is not None or self.ended_at is not None or now >= self.expires_at + LEEWAY:
            return False
        return self.used_at is None or now < self.used_at + UNFINISHED_SECONDS


_LISTS = ("scopes", "servers", "items", "networks")
_PLAIN = tuple(name for name in Token.__struct_fields__ if name not in _LISTS)


def token_of(row: TokenRow) -> Token:
    """What is stored."""
    lists = {name: tuple(msgspec.json.decode(getattr(row, name), type=list[str])) for name in _LISTS}
    return msgspec.convert({**{name: getattr(row, name) for name in _PLAIN}, **lists}, Token)


def row_of(token: Token) -> TokenRow:
    """What to store."""
    lists = {name: msgspec.json.encode(getattr(token, name)).decode() for name in _LISTS}
    return TokenRow.model_validate({**{name: getattr(token, name) for name in _PLAIN}, **lists})
