"""The API of tokens and of the keys that sign them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from toolway.hookspecs.api import PUBLIC, SIGNED_IN, Incoming, Operation, Page, document
from toolway.plugin import Forbidden, Kernel, NotFound, Unauthenticated
from toolway_tokens.catalog import TokenCatalog
from toolway_tokens.issuing import Issuer
from toolway_tokens.key_store import KeyStore
from toolway_tokens.makers import owns, resource_of
from toolway_tokens.schemas import JsonWebKeys, KeysView, MadeToken, NewToken, TokenQuery, TokenView, view
from toolway_tokens.token import Token

JWKS_PATH = "/.well-known/jwks.json"
JWKS_SECONDS = 60
CHUNK = 200
"""Tokens that are read at once for a page."""
MOST_CHUNKS = 25
"""So often for one page; of somebody who may see few of many tokens, pages may have less than they could."""


class TokenOperations:
    """One's own tokens are always one's own matter; those of others take permissions."""

    def __init__(self, kernel: Kernel, catalog: TokenCatalog, keys: KeyStore, issuer: Issuer) -> None:
        self._kernel = kernel
        self._catalog = catalog
        self._keys = keys
        self._issuer = issuer

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one, all_of_them, keys = "/api/v1/tokens/{name}", "/api/v1/tokens", "/api/v1/token-keys"
        return [
            Operation("GET", all_of_them, SIGNED_IN, self.list, query=TokenQuery, answer=Page[TokenView], filters=True),
            Operation(
                "POST",
                all_of_them,
                SIGNED_IN,
                self.create,
                body=NewToken,
                answer=MadeToken,
                success=(201,),
                filters=True,
            ),
            Operation("GET", one, SIGNED_IN, self.get, answer=TokenView, filters=True),
            Operation("DELETE", one, SIGNED_IN, self.revoke, success=(204,), filters=True),
            Operation("POST", f"{keys}/rotate", "token-keys:write", self.rotate, answer=KeysView),
            Operation("GET", JWKS_PATH, PUBLIC, self.jwks, answer=JsonWebKeys),
        ]

    async def list(self, incoming: Incoming) -> Page[TokenView]:
        """List tokens: one's own, and those that one may read; never their values."""
        query: TokenQuery = incoming.query
        found: list[Token] = []
        last, now = query.cursor, self._kernel.clock.now()
        for _ in range(MOST_CHUNKS):
            chunk = await self._catalog.after(last, query.subject, CHUNK)
            found += [token for token in chunk if self._may(incoming, "tokens:read", token)]
            last = chunk[-1].jti if len(chunk) == CHUNK else ""
            if not last or len(found) > query.limit:
                break
        shown = found[: query.limit]
        more = shown[-1].jti if len(found) > query.limit else last or None
        return Page(items=[TokenView(**view(token, now)) for token in shown], next_cursor=more)

    async def create(self, incoming: Incoming) -> Response:
        """Make a token; its value is in the answer and nowhere else."""
        asked: NewToken = incoming.body
        token, value = await self._issuer.make(await self._issuer.maker(incoming.who), asked)
        made = MadeToken(**view(token, self._kernel.clock.now(), token=value))
        return document(made, 201, {"location": f"/api/v1/tokens/{token.jti}"})

    async def get(self, incoming: Incoming) -> TokenView:
        """Show a token of the catalog, without its value."""
        return TokenView(**view(await self._found(incoming, "tokens:read"), self._kernel.clock.now()))

    async def revoke(self, incoming: Incoming) -> Response:
        """Revoke a token, and those that were made with it."""
        token = await self._found(incoming, "tokens:write")
        await self._catalog.revoke(token.jti, incoming.principal.id)
        await self._kernel.catalog.reload()  # this node forgets it before the answer
        return Response(status_code=204)

    async def rotate(self, incoming: Incoming) -> KeysView:
        """Sign with a new key from now on; older ones verify until the last token that they signed is over."""
        await self._keys.rotate(incoming.principal.id)
        return KeysView.model_validate({"items": await self._keys.jwks()})

    async def jwks(self, incoming: Incoming) -> Response:
        """Show the public keys of tokens (RFC 7517)."""
        keys = JsonWebKeys(keys=[*await self._keys.jwks()])
        return document(keys, 200, {"cache-control": f"public, max-age={JWKS_SECONDS}"})

    async def _found(self, incoming: Incoming, action: str) -> Token:
        """The token; what one may not read looks like one that does not exist."""
        token = await self._catalog.find(incoming.name)
        if token is None or not (self._may(incoming, "tokens:read", token) or self._may(incoming, action, token)):
            raise NotFound(f"tokens has no {incoming.name!r}")
        if not self._may(incoming, action, token):
            raise Forbidden(f"permission {action!r} is needed here", permission=action)
        return token

    def _may(self, incoming: Incoming, action: str, token: Token) -> bool:
        """Whether it is one's own, of one's own service account, or a permission says so; within one's limits."""
        principal = incoming.principal
        if principal.kind == "anonymous":
            raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
        limits, accounts = principal.limits, self._kernel.accounts
        if token.subject == principal.id or owns(principal, accounts.get(token.subject), accounts.get(principal.id)):
            return limits is None or limits.permit(action, token.jti, "")
        return incoming.may(action, resource_of(self._kernel, token.jti, token.subject))
