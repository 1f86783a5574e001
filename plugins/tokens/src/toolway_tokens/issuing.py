"""Makes tokens: whose they may be, what they may do at most, how long they live, and the signature."""

from __future__ import annotations

import math
import secrets

import msgspec

from toolway.hookspecs.accounts import ADMIN
from toolway.hookspecs.api import ANY
from toolway.hookspecs.auth import Authenticated, Principal
from toolway.hookspecs.permissions import Limits
from toolway.plugin import Forbidden, InvalidInput, Kernel
from toolway_tokens.authenticator import Names
from toolway_tokens.catalog import PART, TokenCatalog
from toolway_tokens.claims import TYP, Claims
from toolway_tokens.key_store import KeyStore
from toolway_tokens.lifetimes import Lifetimes, lifetimes, policies_for
from toolway_tokens.makers import LOCAL_ADMIN, objection
from toolway_tokens.narrowing import NO_LIMITS, Reach, excess, narrowed
from toolway_tokens.schemas import NewToken
from toolway_tokens.signatures import MAX_TOKEN, signed
from toolway_tokens.token import PREFIX, Token


class Maker(msgspec.Struct, frozen=True):
    """Who makes a token, and with what credential: `token` is the one of ours that it is, if any."""

    who: Authenticated
    token: Token | None

    @property
    def principal(self) -> Principal:
        """Whose credential it is."""
        return self.who.principal

    @property
    def reach(self) -> Reach:
        """What the maker's own credential is good for."""
        who, limits = self.who, self.principal.limits or NO_LIMITS
        return Reach(limits, tuple(map(str, who.networks)), who.ends_at or None, self.principal.single_use)

    @property
    def is_sponsored(self) -> bool:
        """Whether the token that is used was made by another account, which answers for what is made with it.

        The local admin never loses a right, and so has nothing to answer for.
        """
        return self.token is not None and self.token.maker not in (self.token.subject, LOCAL_ADMIN)


class Issuer:
    """`settings` are the lifetimes where no policy says otherwise."""

    def __init__(
        self, kernel: Kernel, catalog: TokenCatalog, keys: KeyStore, names: Names, settings: Lifetimes
    ) -> None:
        self._kernel = kernel
        self._catalog = catalog
        self._keys = keys
        self._names = names
        self._settings = settings

    async def maker(self, who: Authenticated) -> Maker:
        """Who sends a request, with their token."""
        credential = who.principal.credential
        if not credential.startswith(PREFIX):
            return Maker(who, None)
        return Maker(who, await self._catalog.find(credential.removeprefix(PREFIX)))

    async def make(self, maker: Maker, asked: NewToken) -> tuple[Token, str]:
        """The token's entry in the catalog and its value.

        Raises:
            Forbidden: the maker would gain by it, or its own token was revoked meanwhile.
            InvalidInput: it lives too long, or is too long.
        """
        subject = asked.subject or maker.principal.id
        reach = self._reach(maker, subject, asked)
        jti = secrets.token_hex(8)
        async with self._catalog.database.change(PART, maker.principal.id, "tokens.create", f"tokens/{jti}") as tx:
            account, now = self._kernel.accounts.get(subject), self._kernel.clock.now()
            if maker.token is not None and not await self._catalog.is_accepted(tx, maker.token.jti):
                raise Forbidden("the token in use is over; use another credential")
            allowed = lifetimes(account, await policies_for(tx, account), self._settings)
            wish = None if asked.expires_at is None else asked.expires_at.timestamp()
            end = math.floor(allowed.end(now, asked.ttl, wish, maker.reach.expires_at))
            reach = msgspec.structs.replace(reach, expires_at=float(end))
            if beyond := excess(reach, maker.reach):
                raise Forbidden(f"the credential in use does not cover {beyond}; ask for less, or use another one")
            key = await self._keys.signing(tx)
            token = _token(jti, key.kid, subject, maker, asked, reach, math.floor(now))
            value = signed(key, {"typ": TYP}, self._claims(token).encoded())
            if len(value) > MAX_TOKEN:
                raise InvalidInput("the token would be too long to send; give it fewer or shorter scopes")
            await self._catalog.add(tx, token)
            tx.after = token.told()
        return token, value

    def _reach(self, maker: Maker, subject: str, asked: NewToken) -> Reach:
        """What the token is to be good for; raises Forbidden and InvalidInput."""
        principal = maker.principal
        if principal.single_use:
            raise Forbidden("a one-time token cannot make tokens; use another credential")
        if principal.limits is not None and not principal.limits.permit("tokens:write", ANY, ""):
            raise Forbidden("the credential in use is not good for making tokens", permission="tokens:write")
        wanted = Reach(
            Limits(tuple(asked.scopes), tuple(asked.servers), tuple(asked.items)),
            tuple(asked.networks),
            single_use=asked.single_use,
        )
        reach = narrowed(wanted, maker.reach)
        if maker.is_sponsored and subject != principal.id:
            raise Forbidden("with a token that another account made one can make tokens for oneself only")
        if complaint := objection(self._kernel, principal, subject, reach.limits):
            raise Forbidden(complaint)
        if subject != LOCAL_ADMIN and self._kernel.accounts.get(subject) is None:
            if subject == principal.id or ADMIN not in principal.scopes:
                raise Forbidden(f"{subject} is no account, and only accounts have tokens")
            raise InvalidInput(f"there is no account {subject!r}; make it first")
        return reach

    def _claims(self, token: Token) -> Claims:
        start, end = int(token.created_at), int(token.expires_at)
        names = self._names
        return Claims(token.jti, token.subject, names.issuer, names.audience, start, start, end, " ".join(token.scopes))


def _token(jti: str, kid: str, subject: str, maker: Maker, asked: NewToken, reach: Reach, now: int) -> Token:
    sponsor = maker.token.maker if maker.token is not None and maker.is_sponsored else maker.principal.id
    return Token(
        jti,
        kid,
        subject,
        sponsor,
        float(now),
        reach.expires_at or 0.0,
        description=asked.description,
        parent="" if maker.token is None else maker.token.jti,
        scopes=reach.limits.scopes,
        servers=reach.limits.servers,
        items=reach.limits.items,
        networks=reach.networks,
        single_use=asked.single_use,
    )
